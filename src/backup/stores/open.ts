import type { StoreSettings } from '../settings.ts';
import { DirectoryStore } from './directory.ts';
import { S3Store } from './s3.ts';
import { SftpStore } from './sftp.ts';
import type { BackupStore, StoreNetwork } from './store.ts';

/** The caller closes it. */
export function openStore(settings: StoreSettings, network: StoreNetwork): BackupStore {
  switch (settings.type) {
    case 'directory':
      return new DirectoryStore(settings);
    case 'sftp':
      return new SftpStore(settings, network);
    case 's3':
      return new S3Store(settings, network);
  }
}
