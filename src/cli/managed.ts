import fs from 'node:fs';
import { type Management, openManagement } from '../appliance/management.ts';
import { useData } from '../backup/restore.ts';
import { OperatingError } from '../errors.ts';
import type { AuditEntry, AuditLog } from '../users/audit.ts';
import { ROOT } from '../users/users.ts';

/**
 * Runs with the appliance's database open, and keeps restores and updates from exchanging it meanwhile. Throws OperatingError, also
 * `conflict` where one is under way.
 */
export async function managed<Result>(data: string, act: (management: Management) => Result | Promise<Result>): Promise<Result> {
  if (!fs.existsSync(data))
    throw new OperatingError(
      'not_found',
      `there is no data directory ${data}; name it with --data, or start ot-sensor serve once`,
    );
  const use = useData(data);
  try {
    const management = openManagement(data);
    try {
      return await act(management);
    } finally {
      management.database.close();
    }
  } finally {
    use.close();
  }
}

/** What a command did, which only root gives on an appliance, into the audit log. `details` never hold a secret. */
export function note(
  audit: AuditLog,
  action: string,
  subject: string,
  details: AuditEntry['details'] = {},
  outcome: AuditEntry['outcome'] = 'done',
): void {
  audit.add({ actor: ROOT.name, address: ROOT.address, action, subject, outcome, details });
}
