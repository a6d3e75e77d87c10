import { InvalidArgumentError } from 'commander';
import ipaddr from 'ipaddr.js';
import { OperatingError } from '../errors.ts';

/** A whole number within bounds. */
export const integer = (lowest: number, highest: number) => (text: string) => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < lowest || value > highest)
    throw new InvalidArgumentError(`It takes a whole number from ${lowest} to ${highest}.`);
  return value;
};

/** Names separated by commas. */
export const names = (text: string): string[] => {
  const list = text.split(',').map((name) => name.trim());
  if (list.some((name) => name === '')) throw new InvalidArgumentError('It takes names separated by commas.');
  return list;
};

/** A known name: another one would silently match nothing. */
export const oneOf = (known: readonly string[]) => (text: string) => {
  if (!known.includes(text)) throw new InvalidArgumentError(`Known are ${known.join(', ')}.`);
  return text;
};

/** Known names separated by commas. */
export const namesOf = (known: readonly string[]) => (text: string) => names(text).map(oneOf(known));

/** An IPv4 or IPv6 address, in the form the database has it (RFC 5952). */
export const address = (text: string): string => {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return text;
  if (!ipaddr.IPv6.isValid(text)) throw new InvalidArgumentError('It takes an IPv4 or IPv6 address.');
  return ipaddr.IPv6.parse(text).toRFC5952String();
};

/** A MAC address: twelve hexadecimal digits, with or without separators. */
export const mac = (text: string): string => {
  const digits = text.replace(/[:.-]/g, '').toLowerCase();
  if (!/^[\da-f]{12}$/.test(digits)) throw new InvalidArgumentError('It takes a MAC address such as 00:1b:1b:0a:02:14.');
  return digits.match(/../g)!.join(':');
};

/** Refuses names that no dissector has. Those are loaded only where a protocol is named. */
export async function checkProtocols(wanted: readonly string[]): Promise<void> {
  if (wanted.length === 0) return;
  const { dissectors } = await import('../../dissectors/index.ts');
  for (const name of wanted) {
    if (dissectors.some((dissector) => dissector.name === name)) continue;
    const known = dissectors.map((dissector) => dissector.name).join(', ');
    throw new OperatingError('usage', `there is no protocol "${name}"; known are ${known}`);
  }
}
