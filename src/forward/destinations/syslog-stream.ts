import type net from 'node:net';
import { type Outbound, reasonOf, type Target } from '../../appliance/outbound.ts';
import { shortened } from '../formats/format.ts';
import { FORMATS } from '../formats/index.ts';
import type { ForwardItem } from '../item.ts';
import type { SyslogSettings } from '../settings.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

const PATIENCE_MS = 10_000;
const WRITE_BYTES = 65_536;

/**
 * Syslog over TCP (RFC 6587) and TLS (RFC 5425). Neither has an acknowledgement: that the kernel took the bytes, or even that the other
 * host's did, says nothing of a receiver that is killed with them unread. What can be known, and is waited for before messages count as
 * taken (`confirmation`):
 *
 * - `closed`: we end our direction after the batch, and the other side ends its own in order. A TCP that is closed with bytes unread is
 *   reset instead, so the receiver has read everything. Then a new connection, which the next batch will use, must come about and stand
 *   for `settle_ms`: the receiver lives, and had that time to write down what it had read.
 * - `connected`: the connection stays, and has stood for `settle_ms` after the last byte went out. A host that lost its power, or a
 *   firewall that forgot the connection, is not noticed by that before the retransmissions end.
 *
 * Whatever breaks before that, the whole batch is sent again: messages may come twice, and do not go missing. A receiver that dies later
 * than `settle_ms` after it had read messages, without having stored them, loses them: no sender can know.
 */
export class SyslogStream implements Destination {
  readonly batch = 1000;
  private readonly settings: SyslogSettings;
  private readonly outbound: Outbound;
  private readonly render: (item: ForwardItem) => string;
  private readonly patience_ms: number;
  private connection: Connection | null = null;
  private readonly closing = new AbortController();

  /** `patience_ms`: how long a connection may take to take what is written, or to be closed by the other side that has everything. */
  constructor(settings: SyslogSettings, { identity, outbound }: Surroundings, patience_ms = PATIENCE_MS) {
    this.settings = settings;
    this.outbound = outbound;
    this.patience_ms = patience_ms;
    const format = FORMATS[settings.format];
    this.render = (item) => shortened((one) => format(one, identity, settings), item, settings.max_bytes);
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    const { host, port, transport, confirmation, settle_ms } = this.settings;
    const where = `${host} port ${port} (${transport})`;
    try {
      // One that was closed while nothing was sent is no fault: receivers do that.
      if (this.connection?.broken() !== null) await this.connect();
      await this.write(items);
      if (confirmation === 'closed') {
        await this.connection!.finish();
        await this.connect();
      }
      await this.connection!.outlive(settle_ms);
      const how = confirmation === 'closed' ? 'read everything and closed the connection' : 'kept the connection open';
      return { taken: items.length, said: `${where} ${how}; syslog has no other answer` };
    } catch (error) {
      this.connection?.destroy();
      this.connection = null;
      return { taken: 0, fault: faultOf(error, where), said: '' };
    }
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.connection?.destroy();
    this.connection = null;
  }

  private async connect(): Promise<void> {
    this.connection?.destroy();
    this.connection = null;
    const { host, port, transport, tls } = this.settings;
    const target: Target = { host, port };
    const options = { timeout_ms: this.patience_ms, signal: this.closing.signal };
    const socket = await (transport === 'tls'
      ? this.outbound.connectTls(target, tls, options)
      : this.outbound.connect(target, options));
    this.connection = new Connection(socket, this.patience_ms);
    if (!this.closing.signal.aborted) return;
    this.connection.destroy();
    throw new Error('given up');
  }

  private async write(items: readonly ForwardItem[]): Promise<void> {
    let frames: Buffer[] = [];
    let length = 0;
    for (const [i, item] of items.entries()) {
      const frame = this.frame(this.render(item));
      frames.push(frame);
      length += frame.length;
      if (length < WRITE_BYTES && i + 1 < items.length) continue;
      await this.connection!.write(Buffer.concat(frames));
      frames = [];
      length = 0;
    }
  }

  private frame(message: string): Buffer {
    if (this.settings.framing === 'newline') return Buffer.from(`${message}\n`);
    return Buffer.from(`${Buffer.byteLength(message)} ${message}`);
  }
}

function faultOf(error: unknown, where: string): string {
  const reason = reasonOf(error);
  return (error as Error).name === 'OutboundError' ? reason : `${where}: ${reason}`;
}

/** A connection with an eye on its other end. */
class Connection {
  private readonly socket: net.Socket;
  private readonly patience_ms: number;
  private over: Error | null = null;
  private ended = false;
  /** Whoever waits for the end. */
  private waiting: (() => void) | null = null;

  constructor(socket: net.Socket, patience_ms: number) {
    this.socket = socket;
    this.patience_ms = patience_ms;
    const done = (error: Error | null) => () => {
      this.over ??= error;
      this.waiting?.();
    };
    socket.on('error', (error) => done(error)());
    socket.on('close', done(new Error('the other side closed the connection')));
    socket.on('end', () => {
      this.ended = true;
      this.waiting?.();
    });
    // Receivers have nothing to say; but without reading, the end of the connection is not seen.
    socket.resume();
  }

  /** null: as far as is known it stands. */
  broken(): Error | null {
    if (this.over !== null) return this.over;
    return this.ended || this.socket.destroyed ? new Error('the other side closed the connection') : null;
  }

  /** Resolves when the kernel has taken the bytes and the connection stands. */
  async write(bytes: Buffer): Promise<void> {
    let taken = false;
    this.socket.write(bytes, () => {
      taken = true;
      this.waiting?.();
    });
    await this.until(() => taken || this.broken() !== null, this.patience_ms, 'it has not taken anything for a while');
    const broken = this.broken();
    if (broken !== null) throw broken;
  }

  /** Ends our direction; resolves when the other side, having read everything, has ended its own in order. */
  async finish(): Promise<void> {
    const broken = this.broken();
    if (broken !== null) throw broken;
    this.socket.end();
    await this.until(
      () => this.ended || this.over !== null,
      this.patience_ms,
      'it does not close the connection when it has everything; if it never does, set confirmation to "connected"',
    );
    if (!this.ended) throw this.over!;
    this.destroy();
  }

  /** Resolves when the connection still stands after that time. */
  async outlive(settle_ms: number): Promise<void> {
    const broke = await this.until(() => this.broken() !== null, settle_ms, null);
    if (broke) throw this.broken()!;
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** True when it holds; after `timeout_ms` false, or rejects with `fault`. */
  private until(holds: () => boolean, timeout_ms: number, fault: string | null): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.waiting = null;
        settle();
      };
      const timer = setTimeout(() => finish(() => (fault === null ? resolve(false) : reject(new Error(fault)))), timeout_ms);
      this.waiting = () => {
        if (holds()) finish(() => resolve(true));
      };
      this.waiting();
    });
  }
}
