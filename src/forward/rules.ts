import type { SystemNotification } from '../appliance/notifications.ts';
import { alertKind, SEVERITIES, type Severity } from '../detect/catalogue.ts';
import type { StoredAlert } from '../store/queries.ts';
import type { RuleSettings } from './settings.ts';

const rank = (severity: string): number => SEVERITIES.indexOf(severity as Severity);
const anyOf = (wanted: readonly string[], ...values: string[]): boolean =>
  wanted.length === 0 || values.some((value) => wanted.includes(value));

/** What goes to one destination: what any of the rules that name it lets through. */
export class Selection {
  private readonly rules: readonly RuleSettings[];

  constructor(rules: readonly RuleSettings[], destination: string) {
    this.rules = rules.filter((rule) => rule.enabled && rule.destinations.includes(destination));
  }

  takesAlert(alert: StoredAlert): boolean {
    return this.rules.some(
      (rule) =>
        rule.alerts &&
        rank(alert.severity) >= rank(rule.minimum_severity) &&
        anyOf(rule.protocols, alert.app_proto || alert.proto) &&
        anyOf(rule.kinds, alert.kind) &&
        anyOf(rule.engines, alertKind(alert.kind).engine) &&
        anyOf(rule.zones, alert.source_zone, alert.destination_zone),
    );
  }

  takesNotification(notification: SystemNotification): boolean {
    return this.rules.some((rule) => rule.system_notifications && rank(notification.severity) >= rank(rule.minimum_severity));
  }
}
