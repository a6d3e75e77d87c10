/** What the appliance tells of itself, each once: how bad it is, its title, and what to do about it. */
export const NOTIFICATION_KINDS = {
  sensor_stopped: {
    severity: 'critical',
    title: 'The sensor is not running',
    what_to_do: 'Start it (systemctl start ot-sensor) and read its journal for why it ended.',
  },
  no_traffic: {
    severity: 'major',
    title: 'A mirror port receives nothing',
    what_to_do: 'Check the cable and the mirror session on the switch; ot-sensor interfaces shows what arrives.',
  },
  packets_dropped: {
    severity: 'major',
    title: 'Packets were lost before they were inspected',
    what_to_do: 'Look at the counters by reason; a larger buffer, more shards or a capture filter helps.',
  },
  disk_low: {
    severity: 'major',
    title: 'A volume is nearly full',
    what_to_do: 'Shorten the retention, move recordings or backups elsewhere, or enlarge the volume.',
  },
  memory_low: {
    severity: 'minor',
    title: 'Little memory is left',
    what_to_do: 'See which process takes it; the sensor itself is bounded by its settings.',
  },
  time_drift: {
    severity: 'minor',
    title: 'The clock was set or drifts',
    what_to_do: 'Check the time source of the appliance.',
  },
  certificate_expiring: {
    severity: 'major',
    title: 'The certificate of the API expires soon',
    what_to_do: 'Import a new one (ot-sensor certificate import) or make a new self-signed one.',
  },
  backup_failed: {
    severity: 'major',
    title: 'A backup failed',
    what_to_do: 'The details say where it failed; make one by hand (ot-sensor backup create) once that is mended.',
  },
  backup_missed: {
    severity: 'major',
    title: 'No backup was made in time',
    what_to_do: 'See whether the service was running at the hour of the backup, and make one by hand.',
  },
  restore_drill_failed: {
    severity: 'major',
    title: 'A backup could not be restored in the monthly drill',
    what_to_do: 'Do not rely on it: make a new backup, verify it, and report the details.',
  },
  forwarding_failed: {
    severity: 'minor',
    title: 'A destination does not take what is forwarded to it',
    what_to_do: 'The details have what the other side said; ot-sensor forward test tries again. Nothing is lost meanwhile.',
  },
  forwarding_behind: {
    severity: 'minor',
    title: 'The queue of a destination fills',
    what_to_do:
      'See why it takes so little (ot-sensor forward status), or enlarge its queue: when it is full, the oldest are left out.',
  },
  forwarding_dropped: {
    severity: 'major',
    title: 'More waited for a destination than its queue holds',
    what_to_do: 'The oldest were left out, and are still in the database. Mend the destination, or enlarge its queue.',
  },
  update_failed: {
    severity: 'major',
    title: 'An update failed and was taken back',
    what_to_do: 'The former version runs on. The details say which step failed.',
  },
  update_installed: { severity: 'warning', title: 'An update was installed', what_to_do: '' },
  accounts_locked: {
    severity: 'minor',
    title: 'Sign-ins failed again and again',
    what_to_do: 'The audit log says whose and from where. If it was you: wait, or let another administrator set a new password.',
  },
} as const satisfies Record<string, NotificationMeaning>;

interface NotificationMeaning {
  severity: 'critical' | 'major' | 'minor' | 'warning';
  title: string;
  what_to_do: string;
}

export type NotificationKind = keyof typeof NOTIFICATION_KINDS;
