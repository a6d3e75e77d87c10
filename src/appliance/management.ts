import { AuditLog } from '../users/audit.ts';
import { Tokens } from '../users/tokens.ts';
import { Users } from '../users/users.ts';
import { ApplianceDatabase } from './database.ts';
import { Notifications } from './notifications.ts';
import { Settings } from './settings.ts';

/** What people decided, as the service and commands work with it. */
export interface Management {
  database: ApplianceDatabase;
  settings: Settings;
  notifications: Notifications;
  audit: AuditLog;
  users: Users;
  tokens: Tokens;
}

/** Throws StoreError. */
export function openManagement(directory: string): Management {
  const database = new ApplianceDatabase(directory);
  const audit = new AuditLog(database);
  const notifications = new Notifications(database);
  return {
    database,
    settings: new Settings(database),
    notifications,
    audit,
    users: new Users(database, audit, notifications),
    tokens: new Tokens(database, audit),
  };
}
