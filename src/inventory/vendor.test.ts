import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { vendorLookup } from './vendor.ts';

const packaged = readFileSync(createRequire(import.meta.url).resolve('oui-data'));
const mac = (text: string) => Uint8Array.from(text.split(':'), (digits) => Number.parseInt(digits, 16));

describe('the vendor of a MAC address', () => {
  const vendorOf = vendorLookup(packaged);

  test.each([
    ['24 bits', '00:1b:1b:12:34:56', 'Siemens AG'],
    ['first entry', '00:00:00:00:00:01', 'XEROX CORPORATION'],
    ['36 bits, in a block of the registry', '8c:1f:64:00:1f:03', 'HYFIX Spatial Intelligence'],
    ['locally administered', '02:1b:1b:12:34:56', ''],
    ['group address', '01:00:5e:00:00:01', ''],
  ])('%s: %s', (_, address, vendor) => {
    expect(vendorOf(mac(address))).toBe(vendor);
  });

  test('every entry of the registry is found: the packaged file is in order', () => {
    const entries = JSON.parse(packaged.toString('utf8')) as Record<string, string>;
    const missing: string[] = [];
    for (const [prefix, text] of Object.entries(entries)) {
      const bytes = mac(prefix.padEnd(12, '0').replace(/..(?=.)/g, '$&:'));
      const organisation = text.split('\n')[0].replace(/[\s,]+$/, '');
      // A longer assignment may begin with the same digits, and the few locally administered ones are older than the rule.
      const longer = ['0', '000'].some((zeros) => entries[prefix + zeros] !== undefined);
      if (bytes[0] & 3 || longer || organisation === 'IEEE Registration Authority') continue;
      if (vendorOf(bytes) !== organisation) missing.push(prefix);
    }
    expect(missing).toEqual([]);
  });

  test('bytes that are no registry give no vendor', () => {
    for (const text of ['', '{', '{}', '{\n}', '{\n "001B1B": \n}', 'x'.repeat(1000), '{\n "001B1B": "cut sh']) {
      expect(vendorLookup(Buffer.from(text))(mac('00:1b:1b:00:00:00'))).toBe(text.includes('cut') ? 'cut sh' : '');
    }
  });
});
