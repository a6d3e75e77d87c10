/**
 * What is captured, said by hosts, pairs, subnets, ports and VLANs, as a filter in the language of pcap-filter(7).
 *
 * An entry is one or more terms, all of which must hold; a packet is captured when any entry of `include` holds (or there is none) and
 * no entry of `exclude` does.
 *
 *   host ADDRESS           IPv4, IPv6 or MAC address of the sender or the receiver; ARP too
 *   pair ADDRESS ADDRESS   between the two, in either direction
 *   subnet ADDRESS/BITS    sender or receiver in it; ARP too
 *   port [tcp/|udp/|sctp/]N[-M]   of the sender or the receiver; TCP, UDP and SCTP where none is named
 *   vlan ID                on one of the two outer tags, 1 to 4094
 *
 * A filter for untagged packets looks at the wrong bytes of tagged ones. So it is followed by its twin behind one tag and behind two:
 * `(F) or (vlan and ((F) or (vlan and (F))))`, since every `vlan` moves what follows in the text by a tag, wherever it stands and
 * whether it was true or not. F itself begins with "no tag here", or else an exclusion, which is true of all that it does not
 * understand, would let tagged packets through. For the same reason a VLAN identifier is not asked for by `vlan ID`, of which there
 * could only be one, but read from the tag: the outer one from the kernel's notes on the packet (SKF_AD_VLAN_TAG), where it is by
 * the time a filter runs, the inner one from the packet. Behind three tags only `vlan` and MAC addresses are found.
 *
 * For Ethernet only: on other link types libpcap knows no VLANs and says so. Only the first fragment of a datagram has ports. Of what is included by port, later fragments are taken all, as far as the other
 * terms of the entry allow, so that they can be put together; of what is excluded by port, only the first fragment is kept out.
 * Behind the extension headers of IPv6 a port is not found. Of packets in tunnels (GRE, ERSPAN) a filter sees the outer addresses.
 */
import ipaddr from 'ipaddr.js';

export interface FilterRules {
  include: readonly string[];
  exclude: readonly string[];
}

/** What an interface's settings say about its filter: either rules or an expression. */
export interface InterfaceFilter extends FilterRules {
  filter: string;
}

/** An entry or a list that cannot be understood: which, and what would be. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
}

/**
 * Entries in both lists together: libpcap takes half a second for so many, and twice as many would take it eight times as long. What
 * they become must fit the 4096 instructions that the kernel takes, which libpcap finds out.
 */
export const MAX_FILTER_ENTRIES = 64;
export const MAX_FILTER_ENTRY_LENGTH = 200;

/** Where a filter looks at packets: in the kernel, where the outer tag has been taken off, or as they lie in a capture file. */
export type FilterPlace = 'live' | 'file';

/** The expression for an interface: '' for everything. Throws FilterError. */
export function filterOf(settings: InterfaceFilter): string {
  const wrong = combinationFault(settings);
  if (wrong !== '') throw new FilterError(wrong);
  return settings.filter !== '' ? settings.filter : filterExpression(settings);
}

/** Says what is wrong with entries each of which is well, '' where nothing is. */
export function combinationFault({ filter = '', include, exclude }: FilterRules & { filter?: string }): string {
  const count = include.length + exclude.length;
  if (count > MAX_FILTER_ENTRIES) {
    return `${count} entries in "include" and "exclude"; ${MAX_FILTER_ENTRIES} are possible: name subnets or VLANs instead`;
  }
  return filter !== '' && count > 0 ? '"filter" cannot be given together with "include" or "exclude": say it all in one way' : '';
}

/** The expression for rules: '' where there are none. Throws FilterError. */
export function filterExpression({ include, exclude }: FilterRules, place: FilterPlace = 'live'): string {
  const one_way = plainExpression({ include, exclude }, place);
  return one_way === '' ? '' : `(${one_way}) or (vlan and ((${one_way}) or (vlan and (${one_way}))))`;
}

/** The expression for packets without a tag, which stands three times in the whole. '' where there are no rules. */
export function plainExpression({ include, exclude }: FilterRules, place: FilterPlace = 'live'): string {
  if (include.length + exclude.length === 0) return '';
  const wrong = combinationFault({ include, exclude });
  if (wrong !== '') throw new FilterError(wrong);
  const parts = [`not (${oneOf('ether proto', TAGS)})`];
  if (include.length > 0) parts.push(listExpression(include, place, true));
  if (exclude.length > 0) parts.push(`not ${listExpression(exclude, place, false)}`);
  return parts.join(' and ');
}

/** Says what is wrong with an entry, '' where it is well. */
export function entryFault(entry: string): string {
  try {
    entryExpression(entry, 'live', true);
    return '';
  } catch (error) {
    if (error instanceof FilterError) return error.message;
    throw error;
  }
}

/** What libpcap takes for a tag: IEEE 802.1Q, 802.1ad, and what came before that. */
const TAGS = ['0x8100', '0x88a8', '0x9100'];
/**
 * An ancillary word of the kernel's filters: SKF_AD_OFF + SKF_AD_VLAN_TAG (linux/filter.h). All of it comes whatever the size that is
 * asked for; for one byte libpcap knows it too, which judges the first packet after a change of filter itself.
 */
const KERNEL_TAG = 'ether[0xfffff02c]';
/** IPv4: fragment offset not 0. IPv6: next header is a fragment's, the first one's too. */
const FRAGMENTS = '(ip[6:2] & 0x1fff != 0 or ip6[6] = 44)';

const oneOf = (field: string, values: readonly string[]) => values.map((value) => `${field} ${value}`).join(' or ');

function listExpression(entries: readonly string[], place: FilterPlace, with_fragments: boolean): string {
  const unique = [...new Set(entries.map((entry) => entryExpression(entry, place, with_fragments)))];
  return `(${unique.join(' or ')})`;
}

function entryExpression(entry: string, place: FilterPlace, with_fragments: boolean): string {
  const wrong = (why: string) => new FilterError(`"${entry.slice(0, MAX_FILTER_ENTRY_LENGTH)}": ${why}`);
  if (entry.length > MAX_FILTER_ENTRY_LENGTH) throw wrong(`longer than ${MAX_FILTER_ENTRY_LENGTH} characters`);
  const words = entry.trim().split(/\s+/);
  const terms: string[] = [];
  for (let i = 0; i < words.length; ) {
    const name = words[i++];
    const term = Object.hasOwn(TERMS, name) ? TERMS[name] : undefined;
    if (term === undefined) throw wrong(`an entry begins with ${Object.keys(TERMS).join(', ')}, such as ${EXAMPLE}`);
    const values = words.slice(i, i + term.values);
    i += term.values;
    const expression = values.length < term.values ? null : term.expression(values, place, with_fragments);
    if (expression === null) throw wrong(`after "${name}" comes ${term.takes}`);
    terms.push(expression);
  }
  return terms.length === 1 ? terms[0] : `(${terms.join(' and ')})`;
}

const EXAMPLE = '"host 10.0.0.5" or "vlan 20 port tcp/502"';

interface Term {
  values: number;
  /** In words, for whoever gave something else. */
  takes: string;
  /** Without spaces around, so that it can be joined by `and` and `or`; null where the values make no sense. */
  expression(values: readonly string[], place: FilterPlace, with_fragments: boolean): string | null;
}

const TERMS: Readonly<Record<string, Term>> = {
  host: {
    values: 1,
    takes: 'an IPv4, IPv6 or MAC address',
    expression: ([text]) => {
      const end = endOf(text);
      return end && `${end.kind}host ${end.text}`;
    },
  },
  pair: {
    values: 2,
    takes: 'two addresses of the same kind (IPv4, IPv6 or MAC)',
    expression: ([one, other]) => {
      const [a, b] = [endOf(one), endOf(other)];
      if (a === null || b === null || a.kind !== b.kind || a.length !== b.length) return null;
      const way = (from: string, to: string) => `(${a.kind}src ${a.host}${from} and ${a.kind}dst ${a.host}${to})`;
      return `(${way(a.text, b.text)} or ${way(b.text, a.text)})`;
    },
  },
  subnet: {
    values: 1,
    takes: 'an address with its prefix length, such as 10.1.0.0/16',
    expression: ([text]) => {
      const [address, bits, ...more] = text.split('/');
      const end = endOf(address);
      if (end === null || end.kind !== '' || more.length > 0 || !/^\d{1,3}$/.test(bits ?? '') || Number(bits) > end.length)
        return null;
      // libpcap refuses a network with host bits.
      return `net ${networkOf(address, Number(bits))}/${Number(bits)}`;
    },
  },
  port: {
    values: 1,
    takes: 'a port or a range of them, such as 502, tcp/502 or udp/5000-5010',
    expression: ([text], _place, with_fragments) => {
      const [, protocol = '', from, to = from] = /^(?:(tcp|udp|sctp)\/)?(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
      if (from === undefined || Number(from) > Number(to) || Number(to) > 65_535) return null;
      const ports = Number(from) === Number(to) ? `port ${Number(from)}` : `portrange ${Number(from)}-${Number(to)}`;
      const expression = protocol === '' ? ports : `${protocol} ${ports}`;
      return with_fragments ? `(${expression} or ${FRAGMENTS})` : expression;
    },
  },
  vlan: {
    values: 1,
    takes: 'a VLAN identifier, 1 to 4094',
    expression: ([text], place) => {
      const id = Number(text);
      if (!/^\d{1,4}$/.test(text) || id < 1 || id > 4094) return null;
      const tagAt = (offset: number) => `((${oneOf(`ether[${offset}:2] =`, TAGS)}) and ether[${offset + 2}:2] & 0xfff = ${id})`;
      if (place === 'live') return `(${KERNEL_TAG} & 0xfff = ${id} or ${tagAt(12)})`;
      return `(${tagAt(12)} or ((${oneOf('ether[12:2] =', TAGS)}) and ${tagAt(16)}))`;
    },
  },
};

/** An address as a filter has it: `kind` and `host` stand before it, `length` is its length in bits. */
function endOf(text: string): { kind: '' | 'ether '; host: 'host ' | ''; text: string; length: number } | null {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return { kind: '', host: 'host ', text, length: 32 };
  const digits = text.replace(/[:.-]/g, '').toLowerCase();
  if (/^([\da-f]{2}([:-][\da-f]{2}){5}|[\da-f]{4}(\.[\da-f]{4}){2})$/i.test(text))
    return { kind: 'ether ', host: '', text: digits.match(/../g)!.join(':'), length: 48 };
  if (text.includes('%') || !ipaddr.IPv6.isValid(text)) return null;
  return { kind: '', host: 'host ', text: ipaddr.IPv6.parse(text).toString(), length: 128 };
}

function networkOf(address: string, bits: number): string {
  const bytes = ipaddr.parse(address).toByteArray();
  for (let i = 0; i < bytes.length; i++) bytes[i] &= 0xff00 >> Math.min(8, Math.max(0, bits - 8 * i));
  return ipaddr.fromByteArray(bytes).toString();
}
