import { createHmac } from 'node:crypto';
import { type Dispatcher, request } from 'undici';
import { OutboundError, reasonOf } from '../../appliance/outbound.ts';
import { jsonLine } from '../formats/json.ts';
import type { ForwardItem, Identity } from '../item.ts';
import type { WebhookSettings } from '../settings.ts';
import { cutText, plain } from '../text.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

/** Of an answer that is quoted; more is not read. */
const MAX_QUOTED_BYTES = 200;
const MAX_ANSWER_BYTES = 65_536;

/**
 * A POST an item, one after the other, with the item as JSON. Taken is what is answered with 2xx; redirections are not followed. Header
 * fields: `idempotency-key` is the item's UUID, by which a receiver knows what comes twice; with a signing key, `ot-sensor-timestamp` is
 * the time of sending in seconds and `ot-sensor-signature` is `sha256=` and the HMAC-SHA256 in hex of timestamp, a dot and the body.
 */
export class Webhook implements Destination {
  readonly batch = 100;
  private readonly settings: WebhookSettings;
  private readonly identity: Identity;
  private readonly dispatcher: Dispatcher;
  private readonly closing = new AbortController();

  constructor(settings: WebhookSettings, { identity, outbound }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.dispatcher = outbound.dispatcher(settings.tls, { timeout_ms: settings.timeout_ms });
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    let said = '';
    for (const [i, item] of items.entries()) {
      const answer = await this.post(item);
      if (answer.fault !== undefined) return { taken: i, fault: answer.fault, said };
      said = answer.said;
    }
    return { taken: items.length, said };
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.dispatcher.destroy();
  }

  private async post(item: ForwardItem): Promise<{ said: string; fault?: string }> {
    const { url, timeout_ms } = this.settings;
    // Path and query often are what lets one in, and what is said here gets into logs.
    const where = new URL(url).origin;
    const body = jsonLine(item, this.identity);
    try {
      const signal = AbortSignal.any([this.closing.signal, AbortSignal.timeout(2 * timeout_ms)]);
      const answer = await request(url, {
        dispatcher: this.dispatcher,
        method: 'POST',
        headers: this.headers(item, body),
        body,
        signal,
      });
      const quoted = await quote(answer.body);
      const said = `HTTP ${answer.statusCode}${quoted === '' ? '' : `: ${quoted}`}`;
      const taken = answer.statusCode >= 200 && answer.statusCode < 300;
      return taken ? { said } : { said, fault: `${where} answers ${said}` };
    } catch (error) {
      const { name } = error as Error;
      const reason = name === 'TimeoutError' || name.endsWith('TimeoutError') ? 'no answer in time' : reasonOf(error);
      return { said: '', fault: error instanceof OutboundError ? `${where}: ${error.message}` : `${where}: ${reason}` };
    }
  }

  private headers(item: ForwardItem, body: string): Record<string, string> {
    const { headers, signing_key } = this.settings;
    const own: Record<string, string> = {
      'content-type': 'application/json',
      'user-agent': `ot-sensor/${this.identity.version}`,
      'idempotency-key': item.uuid,
    };
    if (signing_key !== '') {
      const timestamp = String(Math.floor(Date.now() / 1000));
      own['ot-sensor-timestamp'] = timestamp;
      own['ot-sensor-signature'] = `sha256=${createHmac('sha256', signing_key).update(`${timestamp}.${body}`).digest('hex')}`;
    }
    return { ...own, ...Object.fromEntries(headers.map(({ name, value }) => [name.toLowerCase(), value])) };
  }
}

/** The beginning of an answer as one line; the rest is read as far as it is short, so that the connection can be used again. */
async function quote(body: AsyncIterable<Buffer> & { destroy(): void }): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length <= MAX_ANSWER_BYTES) continue;
    body.destroy();
    break;
  }
  return cutText(plain(Buffer.concat(chunks).toString()), MAX_QUOTED_BYTES).trim();
}
