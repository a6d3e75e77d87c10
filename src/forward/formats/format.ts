import type { ForwardItem, Identity, ItemEnd } from '../item.ts';
import { byteLength, CUT, cutText } from '../text.ts';

/** A pure function: the same item gives the same text whenever it is sent. */
export type Format = (item: ForwardItem, identity: Identity, options: FormatOptions) => string;

export interface FormatOptions {
  /** IANA name; of the times that the format has in the destination's own time zone. */
  time_zone: string;
}

/** PRI of all that is forwarded: facility user (1) × 8 + severity alert (1), RFC 5424 §6.2.1. */
export const PRI = 9;

/** No limit that is asked for is smaller, so that every format fits. */
export const SMALLEST_LIMIT = 1024;
/** To what names and the title are cut where a message does not fit otherwise. */
const SHORT_BYTES = 32;

/**
 * The item in at most `max_bytes` of UTF-8, which must be `SMALLEST_LIMIT` or more. What is given up, in this order: the details, the
 * end of the message, the ends of names. The text is never cut once it is formatted, so that it stays well formed.
 */
export function shortened(render: (item: ForwardItem) => string, item: ForwardItem, max_bytes: number): string {
  const whole = render(item);
  if (byteLength(whole) <= max_bytes) return whole;
  const lean = { ...item, details: {} };
  const over = byteLength(render(lean)) - max_bytes;
  if (over <= 0) return render(lean);
  // Escaping only makes text longer: what is taken off the message comes off the whole at least.
  const left = byteLength(lean.message) - over - byteLength(CUT);
  if (left > 0) return render({ ...lean, message: cutText(lean.message, left) });
  const short = (text: string): string => cutText(text, SHORT_BYTES);
  const end = ({ ip, mac, port, zone, name, vendor }: ItemEnd): ItemEnd => ({
    ip,
    mac,
    port,
    zone: short(zone),
    name: short(name),
    vendor: short(vendor),
  });
  return render({
    ...lean,
    message: CUT,
    title: short(lean.title),
    protocol: short(lean.protocol),
    operation: short(lean.operation),
    from: end(lean.from),
    to: end(lean.to),
  });
}
