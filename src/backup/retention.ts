import { parseFileName } from './names.ts';
import type { BackupSettings } from './settings.ts';
import type { StoredFile } from './stores/store.ts';

const DAY_MS = 86_400_000;

/**
 * Which backups go. Those of one sensor are judged apart from those of others that share a folder; names that are no backup's are never
 * among them. The newest of all stays, whatever the limits say.
 */
export function expired(
  files: readonly StoredFile[],
  sensor_name: string,
  { keep_count, keep_days, keep_bytes }: Pick<BackupSettings, 'keep_count' | 'keep_days' | 'keep_bytes'>,
  now_ms: number,
): string[] {
  const own = files
    .flatMap(({ name, size }) => {
      const parsed = parseFileName(name);
      return parsed === null || parsed.sensor_name !== sensor_name ? [] : [{ name, size, ...parsed }];
    })
    .sort((a, b) => b.time_ms - a.time_ms || b.number - a.number);
  let bytes = 0;
  return own
    .filter(({ size, time_ms }, i) => {
      bytes += size;
      if (i === 0) return false;
      return (
        i >= keep_count || (keep_days > 0 && now_ms - time_ms > keep_days * DAY_MS) || (keep_bytes > 0 && bytes > keep_bytes)
      );
    })
    .map(({ name }) => name);
}
