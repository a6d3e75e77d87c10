/** Text that came from packets, as one line of plain text: what breaks a line, steers a terminal or turns the direction of writing becomes a space. */
export const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, ' ');

export const byteLength = (text: string): number => Buffer.byteLength(text);

/** Stands where text was cut. */
export const CUT = '…';

/** At most `max_bytes` of UTF-8, cut between two characters and marked with `CUT` where something is missing. */
export function cutText(text: string, max_bytes: number): string {
  if (byteLength(text) <= max_bytes) return text;
  const bytes = Buffer.from(text);
  let end = Math.max(0, max_bytes - byteLength(CUT));
  // 10xxxxxx goes on with a character that began before.
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return `${bytes.toString('utf8', 0, end)}${CUT}`;
}

/** `policy violation` → `Policy Violation`, as SIEM rules for this kind of product expect it. */
export const titleCase = (text: string): string => text.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());

/** A name as a host name of a syslog header: printable ASCII without spaces (RFC 5424 §6.2.4). '-' where nothing is left. */
export const hostText = (name: string): string => name.replace(/[^\x21-\x7e]+/g, '-').slice(0, 255) || '-';
