// The names of backups' files, which lists, stores and retention go by; and the folder of a restore, whose being there says that there is one.

export const RESTORE_FOLDER = 'restore';

export interface BackupName {
  sensor_name: string;
  product_version: string;
  time_ms: number;
  /** From 1; tells those of one second apart. */
  number: number;
  encrypted: boolean;
}

const NAME =
  /^([A-Za-z0-9_.-]{1,64})-backup-([0-9][0-9A-Za-z.+]{0,40})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z(?:-(\d{1,3}))?\.tar\.gz(\.enc)?$/;

/** `<sensor>-backup-<version>-<date>T<time>Z.tar.gz`, with `.enc` behind it where it is encrypted. UTC. */
export function fileNameOf({ sensor_name, product_version, time_ms, number, encrypted }: BackupName): string {
  const time = new Date(time_ms).toISOString().replace(/[-:]|\.\d+/g, '');
  const again = number > 1 ? `-${number}` : '';
  return `${sensor_name}-backup-${product_version.replace(/-/g, '.')}-${time}${again}.tar.gz${encrypted ? '.enc' : ''}`;
}

/** null: not the name of a backup. */
export function parseFileName(name: string): BackupName | null {
  const match = NAME.exec(name);
  if (match === null) return null;
  const [, sensor_name, product_version, year, month, day, hour, minute, second, number, enc] = match;
  const time_ms = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  return { sensor_name, product_version, time_ms, number: Number(number ?? 1), encrypted: enc !== undefined };
}
