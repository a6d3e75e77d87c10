import { createHmac } from 'node:crypto';
import { type Dispatcher, request } from 'undici';
import { OutboundError, reasonOf } from '../../appliance/outbound.ts';
import { extendedObject, jsonObject, lineOf } from '../formats/json.ts';
import type { ForwardItem, Identity } from '../item.ts';
import type { WebhookSettings } from '../settings.ts';
import { cutText, plain } from '../text.ts';
import type { Delivery, Destination, Surroundings } from './destination.ts';

/** Of an answer that is quoted; more is not read. */
const MAX_QUOTED_BYTES = 200;
const MAX_ANSWER_BYTES = 65_536;

/**
 * A POST an item, one after the other, with the item as JSON; or, where the receiver can read an array, a POST for what waits. Taken is what
 * is answered with 2xx; redirections are not followed. Header fields: `idempotency-key` is the first item's UUID (with how many there are, in
 * an array), by which a receiver knows what comes twice: after a failure the same items are posted together again. With a signing key, `ot-sensor-timestamp` is
 * the time of sending in seconds and `ot-sensor-signature` is `sha256=` and the HMAC-SHA256 in hex of timestamp, a dot and the body.
 */
export class Webhook implements Destination {
  readonly batch = 100;
  private readonly settings: WebhookSettings;
  private readonly identity: Identity;
  private readonly dispatcher: Dispatcher;
  private readonly closing = new AbortController();
  /** What was posted together last, and not taken. */
  private refused: { first: string; count: number } | null = null;

  constructor(settings: WebhookSettings, { identity, outbound }: Surroundings) {
    this.settings = settings;
    this.identity = identity;
    this.dispatcher = outbound.dispatcher(settings.tls, { timeout_ms: settings.timeout_ms });
  }

  async send(items: readonly ForwardItem[]): Promise<Delivery> {
    let said = '';
    for (let taken = 0; taken < items.length; ) {
      const { items_per_post } = this.settings;
      const again = this.refused?.first === items[taken].uuid ? this.refused.count : items_per_post;
      const posted = items.slice(taken, taken + again);
      const answer = await this.post(posted);
      if (answer.fault !== undefined) {
        this.refused = { first: posted[0].uuid, count: posted.length };
        return { taken, fault: answer.fault, said };
      }
      taken += posted.length;
      said = answer.said;
    }
    this.refused = null;
    return { taken: items.length, said };
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.dispatcher.destroy();
  }

  private async post(items: readonly ForwardItem[]): Promise<{ said: string; fault?: string }> {
    const { url, timeout_ms, format, items_per_post } = this.settings;
    // Path and query often are what lets one in, and what is said here gets into logs.
    const where = new URL(url).origin;
    const objectOf = format === 'extended' ? extendedObject : jsonObject;
    const objects = items.map((item) => objectOf(item, this.identity));
    const body = lineOf(items_per_post === 1 ? objects[0] : objects);
    try {
      const signal = AbortSignal.any([this.closing.signal, AbortSignal.timeout(2 * timeout_ms)]);
      const answer = await request(url, {
        dispatcher: this.dispatcher,
        method: 'POST',
        headers: this.headers(items, body),
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

  private headers(items: readonly ForwardItem[], body: string): Record<string, string> {
    const { headers, signing_key, items_per_post } = this.settings;
    const [{ uuid }] = items;
    const own: Record<string, string> = {
      'content-type': 'application/json',
      'user-agent': `ot-sensor/${this.identity.version}`,
      'idempotency-key': items_per_post === 1 ? uuid : `${uuid}.${items.length}`,
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
