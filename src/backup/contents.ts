/**
 * Every table of the appliance's database, and what a backup without keys has of it: all rows, none, those of a condition, or settings
 * without their secrets. A table that is not here is left out of them. Hashes of passwords and tokens are no keys: without them nobody
 * could sign in after a restore.
 */
export const APPLIANCE_TABLES: Readonly<Record<string, 'all' | 'none' | 'settings' | { where: string }>> = {
  settings: 'settings',
  notifications: 'all',
  users: 'all',
  tokens: { where: "kind = 'token'" },
  sign_in_failures: 'none',
  audit: 'all',
  backup_runs: 'all',
  forward_cursors: 'all',
  forward_destinations: 'all',
  forward_appliance: 'all',
  zone_policies: 'all',
};
