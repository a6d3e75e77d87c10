import type { DestinationSettings } from '../settings.ts';
import type { Destination, Surroundings } from './destination.ts';

/** The destination of these settings. What only one type needs is loaded when there is one. */
export async function openDestination(settings: DestinationSettings, surroundings: Surroundings): Promise<Destination> {
  switch (settings.type) {
    case 'syslog': {
      if (settings.transport === 'udp') return new (await import('./syslog-udp.ts')).SyslogUdp(settings, surroundings);
      return new (await import('./syslog-stream.ts')).SyslogStream(settings, surroundings);
    }
    case 'webhook':
      return new (await import('./webhook.ts')).Webhook(settings, surroundings);
    case 'email':
      return new (await import('./email.ts')).Email(settings, surroundings);
    case 'file':
      return new (await import('./file.ts')).JsonLinesFile(settings, surroundings);
    case 'nats':
      return new (await import('./nats.ts')).Nats(settings, surroundings);
  }
}
