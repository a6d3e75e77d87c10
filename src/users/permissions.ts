/**
 * Who may do what, once: the roles are the reference's (Read only, Security Analyst, Admin), each has all that the one before has. Every
 * route names one of these permissions, and every command that goes through the API.
 */
export const ROLES = ['read_only', 'analyst', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** The lowest role that has the permission, and what it is for. */
export const PERMISSIONS = {
  'inventory.read': ['read_only', 'devices, connections, activities, protocols, interfaces'],
  'alerts.read': ['read_only', 'alerts and their packets, the live stream'],
  'zones.read': ['read_only', 'zones and conduits'],
  'health.read': ['read_only', "the appliance's health, counters and system notifications"],
  own_account: ['read_only', "one's own account: password, tokens, sign-out"],
  'alerts.manage': ['analyst', 'acknowledge, close and reopen alerts, mute, comment'],
  'events.read': ['analyst', 'the event timeline'],
  'devices.manage': ['analyst', 'authorise devices, name them, set scanner and programming station'],
  'zones.test': ['analyst', 'validate a zone policy and test it against traffic'],
  'captures.play': ['analyst', 'upload capture files and play them'],
  'devices.delete': ['admin', 'delete devices, and take that back'],
  'zones.manage': ['admin', 'apply a zone policy, roll it back'],
  'settings.read': ['admin', 'settings, forwarding, stores, updates'],
  'settings.manage': ['admin', 'change settings, forwarding, stores; send a test'],
  'backups.manage': ['admin', 'make, verify, fetch and restore backups'],
  'updates.read': ['admin', 'what is installed, and what can be gone back to'],
  'updates.manage': ['admin', 'upload updates, have them installed, confirm or undo them'],
  'certificates.manage': ['admin', 'certificates and their requests'],
  'users.manage': ['admin', 'users, their passwords, all tokens'],
  'audit.read': ['admin', 'the audit log'],
} as const satisfies Record<string, readonly [Role, string]>;

export type Permission = keyof typeof PERMISSIONS;

export function mayDo(role: Role, permission: Permission): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(PERMISSIONS[permission][0]);
}
