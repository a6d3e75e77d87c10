import { isIP, type Socket } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import { createTransport, type Transporter } from 'nodemailer';
import type SMTPPool from 'nodemailer/lib/smtp-pool/index.js';
import { OutboundError, reasonOf } from '../../appliance/outbound.ts';
import { endText } from '../formats/end.ts';
import { eventTime } from '../formats/time.ts';
import type { ForwardItem, Identity, ItemEnd } from '../item.ts';
import type { EmailSettings } from '../settings.ts';
import { cutText, hostText, plain, titleCase } from '../text.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

const PATIENCE_MS = 20_000;
/** Of what a mail server says. */
const MAX_SAID_BYTES = 300;

/**
 * A mail an item, or one for all that came within `digest_minutes`. Taken is what the mail server took over for at least one of the
 * addresses; those it refused are named. The Message-ID is made of the first item's UUID and stays when it is sent again.
 */
export class Email implements Destination {
  readonly batch: number;
  private readonly settings: EmailSettings;
  private readonly identity: Identity;
  private readonly sockets = new Set<Socket>();
  private readonly transport: Transporter<SMTPPool.SentMessageInfo>;

  constructor(settings: EmailSettings, { identity, outbound }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.batch = settings.digest_count;
    const { host, port, security, tls, username, password } = settings;
    const server_name = tls.server_name || host;
    const options: SMTPPool.Options = {
      // One connection, kept for the next mail: to make one takes longer than to send.
      pool: true,
      maxConnections: 1,
      maxMessages: Number.POSITIVE_INFINITY,
      host,
      port,
      secure: security === 'tls',
      requireTLS: security === 'starttls',
      ignoreTLS: security === 'none',
      ...(username === '' ? {} : { auth: { user: username, pass: password } }),
      tls: {
        // An address is no server name (RFC 6066 §3).
        ...(isIP(server_name) ? {} : { servername: server_name }),
        checkServerIdentity: (_, presented) => checkServerIdentity(server_name, presented),
        rejectUnauthorized: tls.verify,
        minVersion: 'TLSv1.2',
        ...(tls.ca === '' ? {} : { ca: tls.ca }),
        ...(tls.certificate === '' ? {} : { cert: tls.certificate, key: tls.key, passphrase: tls.passphrase }),
      },
      name: hostText(identity.sensor),
      greetingTimeout: PATIENCE_MS,
      socketTimeout: PATIENCE_MS,
      // No attachment is ever read from a file or fetched.
      disableFileAccess: true,
      disableUrlAccess: true,
      getSocket: (_, callback) => {
        outbound.connect({ host, port }).then(
          (connection) => {
            this.sockets.add(connection);
            connection.once('close', () => this.sockets.delete(connection));
            callback(null, { connection });
          },
          (error: Error) => callback(error, undefined),
        );
      },
    };
    this.transport = createTransport(options);
  }

  holdMs(waiting: number, since_ms: number, now_ms: number): number {
    const { digest_minutes, digest_count } = this.settings;
    if (digest_minutes === 0 || waiting >= digest_count) return 0;
    return Math.max(0, since_ms + digest_minutes * 60_000 - now_ms);
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    const { digest_minutes, host, port } = this.settings;
    const mails = digest_minutes === 0 ? items.map((item) => [item]) : [items];
    let taken = 0;
    let said = '';
    for (const mail of mails) {
      try {
        const { response, rejected } = await this.transport.sendMail(this.mailOf(mail));
        said = cutText(plain(response), MAX_SAID_BYTES);
        if (rejected.length > 0) said += `; refused: ${rejected.map(String).join(', ')}`;
      } catch (error) {
        const fault = error instanceof OutboundError ? error.message : `${host} port ${port}: ${faultOf(error)}`;
        return { taken, fault, said };
      }
      taken += mail.length;
    }
    return { taken, said };
  }

  async close(): Promise<void> {
    this.transport.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private mailOf(items: readonly ForwardItem[]): SMTPPool.MailOptions {
    const { from, to } = this.settings;
    const { sensor, version } = this.identity;
    const [first] = items;
    const subject =
      items.length === 1
        ? `[${sensor}] ${titleCase(first.severity)}: ${first.title}`
        : `[${sensor}] ${items.length} messages, the first: ${first.title}`;
    return {
      from,
      to,
      subject,
      messageId: `<${first.uuid}.${items.length}@${hostText(sensor).replace(/[^\w.-]/g, '-')}>`,
      date: new Date(first.time_ms),
      headers: { 'auto-submitted': 'auto-generated', 'x-ot-sensor-version': version },
      text: items.map((item) => this.textOf(item)).join(`\n${'-'.repeat(72)}\n\n`),
    };
  }

  private textOf(item: ForwardItem): string {
    const { sensor, site } = this.identity;
    const end = ({ name, ip, mac, port, zone }: ItemEnd): string =>
      [name, endText(ip, mac, port), zone === '' ? '' : `zone ${zone}`].filter((word) => word !== '').join(', ');
    const lines: [string, string][] = [
      ['Time', eventTime(item.time_ms, this.settings.time_zone)],
      ['Sensor', site === '' ? sensor : `${sensor} (${site})`],
      ['Severity', titleCase(item.severity)],
      ['Type', titleCase(item.engine)],
      ['Alert group', item.category],
      ['Source', end(item.from)],
      ['Destination', end(item.to)],
      ['Protocol', item.protocol],
      ['Operation', item.operation],
      ['UUID', item.uuid],
    ];
    const shown = lines.filter(([, value]) => value !== '').map(([label, value]) => `${`${label}:`.padEnd(13)}${value}`);
    return `${item.title}\n\n${item.message}\n\n${shown.join('\n')}\n`;
  }
}

/** What the mail server said; never the password, which only stands in what we say. */
function faultOf(error: unknown): string {
  const { response, code, message } = error as Error & { response?: string; code?: string };
  if (response) return cutText(plain(response), MAX_SAID_BYTES);
  if (code === 'ETIMEDOUT') return 'no answer in time';
  return cutText(plain(code === undefined || code === 'ESOCKET' ? message : reasonOf(error)), MAX_SAID_BYTES);
}
