import { OperatingError } from '../errors.ts';
import type { OperatorStore } from '../store/operator.ts';
import type { StoreReader } from '../store/queries.ts';

// Deleting hides: what is known of a device stays, and with the next packet of it it is listed again. So nothing that was stored is lost, and
// nobody hides a device that still talks.

/** As in the reference product: one that still talks would be there again at once. */
const QUIET_MS = 10 * 60_000;
const AT_ONCE = 1000;

interface Stores {
  reader: StoreReader;
  operator: OperatorStore;
}

/** Throws OperatingError `not_found`, `conflict`. */
export function deleteDevice({ reader, operator }: Stores, id: number, by: string, now_ms: number): void {
  const outcome = operator.deleteDevice(id, by, now_ms, quietSince(reader, now_ms));
  if (outcome === 'missing') throw new OperatingError('not_found', `there is no device ${id}`);
  if (outcome === 'active')
    throw new OperatingError(
      'conflict',
      `device ${id} was seen within the last 10 minutes: only one that is silent can be deleted`,
    );
}

/** Gives how many; 0 when there are no more. Throws OperatingError `usage`. */
export function deleteUnseen({ reader, operator }: Stores, since_ms: number, by: string, now_ms: number): number {
  if (since_ms > quietSince(reader, now_ms))
    throw new OperatingError(
      'usage',
      'the time is to be at least 10 minutes ago, since only devices that are silent can be deleted',
    );
  return operator.deleteDevicesUnseen(since_ms, by, now_ms, AT_ONCE);
}

/** Ten minutes before now; of a capture file that was replayed, before its end. */
function quietSince(reader: StoreReader, now_ms: number): number {
  const last = reader.captures().at(-1);
  const newest = last === undefined || !last.finished ? now_ms : Math.min(now_ms, last.last_ms ?? now_ms);
  return newest - QUIET_MS;
}
