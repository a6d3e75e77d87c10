import type { Attribute } from '../../src/dissect/index.ts';

/**
 * What a client's vendor class identifier (RFC 2132, 9.13) says of the device. Of free form; those that name manufacturer and
 * model in a known one are taken apart. Boot firmware (PXE, HTTP boot) says nothing of the device that it boots.
 */
export function vendorClass(text: string): [attribute: Attribute, value: string][] {
  if (/^(?:PXE|HTTP)Client\b/.test(text)) return [];
  const named = /^(Cisco Systems, Inc\.) IP Phone (\S+)$/.exec(text) ?? /^(Hewlett-Packard) (\S.*)$/.exec(text);
  if (named === null) return [['description', text]];
  return [
    ['description', text],
    ['vendor', named[1]],
    ['model', named[2]],
  ];
}
