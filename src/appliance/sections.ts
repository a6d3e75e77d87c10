import { API } from '../api/settings.ts';
import { BACKUP } from '../backup/settings.ts';
import { FORWARDING } from '../forward/settings.ts';
import { HEALTH } from '../health/settings.ts';
import { SNMP } from '../health/snmp.ts';
import { ACCESS } from '../users/settings.ts';
import { EXCLUSIONS } from './exclusion-settings.ts';
import { OUTBOUND } from './outbound.ts';
import { RETENTION } from './retention.ts';
import type { SettingsSection } from './settings.ts';

/** Every section of managed settings there is. One that is not here has no API route, and is left out of backups without keys. */
export const SECTIONS: readonly SettingsSection[] = [
  ACCESS,
  API,
  HEALTH,
  SNMP,
  FORWARDING,
  OUTBOUND,
  BACKUP,
  EXCLUSIONS,
  RETENTION,
];
