/** The organisation a MAC (6 bytes) is assigned to; '' where nobody is, or the address is not from a manufacturer. */
export type VendorOf = (mac: Uint8Array) => string;

const QUOTE = 0x22;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;

/** Assignments to the registry itself are the blocks it deals out in smaller parts. */
const REGISTRY = 'IEEE Registration Authority';

const MAX_NAMES = 10_000;

/**
 * A lookup over the registry's JSON text: one object, an entry a line, shorter keys first and then in their order, key 6, 7 or 9 hexadecimal digits (IEEE
 * MA-L, MA-M, MA-S), value the organisation and its address by lines. The bytes are searched as they are: parsing them into 50,000
 * strings takes 60 ms and an inventory asks for few of them.
 */
export function vendorLookup(json: Uint8Array): VendorOf {
  const text = Buffer.from(json.buffer, json.byteOffset, json.byteLength);
  const names = new Map<string, string>();
  const nameOf = (prefix: string): string => {
    let name = names.get(prefix);
    if (name === undefined) {
      name = find(text, prefix);
      // A flood of random addresses asks for every prefix there is.
      if (names.size < MAX_NAMES) names.set(prefix, name);
    }
    return name;
  };

  return (mac) => {
    // Locally administered (bit 1) and group (bit 0) addresses are nobody's: IEEE 802-2014, 8.2.2.
    if (mac.length !== 6 || mac[0] & 0x03) return '';
    const digits = Buffer.from(mac.buffer, mac.byteOffset, 5).toString('hex').toUpperCase();
    const name = nameOf(digits.slice(0, 6));
    if (name !== '' && name !== REGISTRY) return name;
    return nameOf(digits.slice(0, 9)) || nameOf(digits.slice(0, 7));
  };
}

/** Binary search by bytes: the middle is moved to the beginning of its line. */
function find(text: Buffer, prefix: string): string {
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const line = middle === 0 ? 0 : text.lastIndexOf(NEWLINE, middle - 1) + 1;
    const newline = text.indexOf(NEWLINE, line);
    const end = newline < 0 ? text.length : newline;
    const open = text.indexOf(QUOTE, line);
    const close = open < 0 || open >= end ? -1 : text.indexOf(QUOTE, open + 1);
    if (close < 0 || close >= end) {
      // Only the opening and the closing brace stand on lines of their own: the first and the last.
      if (line === 0) low = end + 1;
      else high = line;
      continue;
    }
    const key = text.toString('latin1', open + 1, close);
    if (key === prefix) {
      const value = text.indexOf(QUOTE, close + 1);
      return value < 0 || value >= end ? '' : organisationAt(text, value);
    }
    if (key.length < prefix.length || (key.length === prefix.length && key < prefix)) low = end + 1;
    else high = line;
  }
  return '';
}

/** The first line of a JSON string: up to its `\n` or its end. */
function organisationAt(text: Buffer, quote: number): string {
  let i = quote + 1;
  while (i < text.length && text[i] !== QUOTE) {
    if (text[i] === BACKSLASH) {
      if (text[i + 1] === 0x6e) break;
      i++;
    }
    i++;
  }
  try {
    const name = JSON.parse(`"${text.toString('utf8', quote + 1, i)}"`) as string;
    return name.replace(/[\s,]+$/, '');
  } catch {
    return '';
  }
}
