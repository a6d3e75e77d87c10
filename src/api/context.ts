import type { Captures } from '../appliance/captures.ts';
import type { Certificate } from '../appliance/certificate.ts';
import type { ApplianceDatabase } from '../appliance/database.ts';
import type { Notifications } from '../appliance/notifications.ts';
import type { RunProgram } from '../appliance/program.ts';
import type { Settings, SettingsSection } from '../appliance/settings.ts';
import type { StoreAccess } from '../appliance/store-access.ts';
import type { ZonePolicies } from '../appliance/zone-policies.ts';
import type { Backups } from '../backup/schedule.ts';
import type { Forwarder } from '../forward/forwarder.ts';
import type { Health } from '../health/health.ts';
import type { Updates } from '../update/requests.ts';
import type { AuditLog } from '../users/audit.ts';
import type { Tokens } from '../users/tokens.ts';
import type { Users } from '../users/users.ts';

/** What the routes work with. */
export interface ApiContext {
  version: string;
  /** The data directory. */
  directory: string;
  database: ApplianceDatabase;
  settings: Settings;
  /** Sections that can be read and changed over the API. */
  sections: readonly SettingsSection[];
  users: Users;
  tokens: Tokens;
  audit: AuditLog;
  notifications: Notifications;
  store: StoreAccess;
  health: Health;
  certificate: Certificate;
  forwarder: Forwarder;
  zone_policies: ZonePolicies;
  captures: Captures;
  backups: Backups;
  updates: Updates;
  run: RunProgram;
}
