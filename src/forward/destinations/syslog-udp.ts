import dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { reasonOf } from '../../appliance/outbound.ts';
import { shortened } from '../formats/format.ts';
import { FORMATS } from '../formats/index.ts';
import type { ForwardItem } from '../item.ts';
import type { SyslogSettings } from '../settings.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

/** Datagrams in one go, and the pause after: what a receiver's default buffer holds. */
const BURST = 50;
const PAUSE_MS = 10;
/** How long a host may take to say that nothing listens at the port (ICMP). */
const REFUSAL_MS = 100;

/**
 * Syslog over UDP (RFC 5426): a datagram a message. A message counts as taken when it was sent and the receiver's host did not say that
 * nobody listens; what is lost on the way or at the receiver is not known to anybody.
 */
export class SyslogUdp implements Destination {
  readonly batch = 500;
  private readonly settings: SyslogSettings;
  private readonly render: (item: ForwardItem) => string;
  private socket: dgram.Socket | null = null;
  private refused: Error | null = null;

  constructor(settings: SyslogSettings, { identity }: Surroundings) {
    this.settings = settings;
    const format = FORMATS[settings.format];
    this.render = (item) => shortened((one) => format(one, identity, settings), item, settings.max_bytes);
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    const { host, port } = this.settings;
    try {
      const socket = await this.open();
      this.refused = null;
      for (const [i, item] of items.entries()) {
        const message = Buffer.from(this.render(item));
        await new Promise<void>((resolve, reject) => socket.send(message, (error) => (error ? reject(error) : resolve())));
        if ((i + 1) % BURST === 0) await sleep(PAUSE_MS);
        if (this.refused !== null) throw this.refused;
      }
      await sleep(REFUSAL_MS);
      if (this.refused !== null) throw this.refused;
      return { taken: items.length, said: `sent to ${host} port ${port}; UDP tells nothing of whether it arrived` };
    } catch (error) {
      await this.close();
      return { taken: 0, fault: `${host} port ${port}: ${reasonOf(error)}`, said: '' };
    }
  }

  async close(): Promise<void> {
    const { socket } = this;
    this.socket = null;
    if (socket !== null) await new Promise<void>((resolve) => socket.close(() => resolve()));
  }

  /** Connected, so that the kernel tells us of refusals. */
  private async open(): Promise<dgram.Socket> {
    if (this.socket !== null) return this.socket;
    const { host, port } = this.settings;
    const { address } = net.isIP(host) ? { address: host } : await lookup(host);
    const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
    this.socket = socket;
    socket.on('error', (error) => {
      this.refused = error;
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(port, address, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    return socket;
  }
}
