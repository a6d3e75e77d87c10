import { describe, expect, test } from 'vitest';
import type { PortTraffic } from './port-traffic.ts';
import { type PortCapture, type VerdictCode, verdictsOf } from './port-verdict.ts';

/** A healthy port, a minute long, but for what is said. */
const traffic = (fields: Partial<PortTraffic> = {}): PortTraffic => ({
  seconds: 60,
  packets: 1000,
  bytes: 100_000,
  unicast: 950,
  broadcast: 30,
  multicast: 20,
  own_unicast: 0,
  tunneled: 0,
  cut: 0,
  merged: 0,
  malformed: 0,
  doubled: 0,
  untagged: 1000,
  vlans: [],
  protocols: [{ name: 'modbus', packets: 950 }],
  connections: 10,
  one_way_connections: 0,
  conversations: 20,
  one_way_conversations: 3,
  conversations_left_out: 0,
  ...fields,
});
const nothing = traffic({
  packets: 0,
  bytes: 0,
  unicast: 0,
  broadcast: 0,
  multicast: 0,
  untagged: 0,
  protocols: [],
  connections: 0,
  conversations: 0,
  one_way_conversations: 0,
});
const capture = (fields: Partial<PortCapture> = {}): PortCapture => ({
  state: 'capturing',
  message: '',
  dropped_by_kernel: 0,
  dropped_by_us: { overload: 0, closed: 0 },
  dropped_by_interface: 0,
  filtered: false,
  link: true,
  ...fields,
});
const alone = { unicast: 0, connections: 0, conversations: 0, one_way_conversations: 0 };

describe('the verdict', () => {
  const CASES: [string, PortTraffic, PortCapture | null, VerdictCode[], RegExp][] = [
    ['a healthy port', traffic(), capture(), ['healthy'], /^healthy mirror port$/],
    ['a healthy port by a capture file', traffic(), null, ['healthy'], /^healthy mirror port$/],
    ['a mirror by tunnel', traffic({ tunneled: 900, own_unicast: 0 }), capture(), ['healthy'], /by tunnel/],
    ['an interface that is not there', nothing, capture({ state: 'absent', message: 'eth7: no such interface' }), ['not_captured'], /eth7: no such/],
    ['an interface that is down', nothing, capture({ state: 'down', message: '' }), ['not_captured'], /^not captured: down$/],
    ['no link', nothing, capture({ link: false }), ['no_link'], /check the cable/],
    ['silence', nothing, capture(), ['silent'], /^nothing arrives: check that the mirror session[^,]*$/],
    ['silence behind a filter', nothing, capture({ filtered: true }), ['silent'], /or the filter lets nothing through/],
    ['only broadcast', traffic({ ...alone, broadcast: 1000, multicast: 0 }), capture(), ['only_broadcast'], /^only broadcast: this port is not a mirror port$/],
    ['only multicast', traffic({ ...alone, broadcast: 0, multicast: 1000 }), capture(), ['only_broadcast'], /^only multicast: /],
    ['only broadcast and multicast', traffic({ ...alone, broadcast: 600, multicast: 400 }), capture(), ['only_broadcast'], /^only broadcast and multicast: /],
    ['what a switch floods', traffic({ unicast: 40, broadcast: 560, multicast: 400, connections: 0, conversations: 3, one_way_conversations: 3 }), capture(), ['only_broadcast'], /^hardly anything but/],
    ['little unicast, but of both sides', traffic({ unicast: 40, broadcast: 560, multicast: 400 }), capture(), ['healthy'], /healthy/],
    ['a process bus', traffic({ ...alone, broadcast: 0, multicast: 1000, protocols: [{ name: 'sv', packets: 700 }, { name: 'goose', packets: 200 }] }), capture(), ['healthy'], /healthy/],
    ['a management port', traffic({ own_unicast: 945 }), capture(), ['own_traffic'], /^only this machine's own traffic/],
    ['a tunnel that ends here', traffic({ own_unicast: 950, tunneled: 900 }), capture(), ['healthy'], /by tunnel/],
    ['half of the connections one-way', traffic({ one_way_connections: 5 }), capture(), ['one_way'], /^half of the connections are one-way: mirror both directions/],
    ['most of them', traffic({ one_way_connections: 8 }), capture(), ['one_way'], /^most of the connections/],
    ['all of them', traffic({ one_way_connections: 10 }), capture(), ['one_way'], /^all of the connections/],
    ['a third of them', traffic({ connections: 9, one_way_connections: 3 }), capture(), ['one_way'], /^33 % of the connections/],
    ['the only one', traffic({ connections: 1, one_way_connections: 1 }), capture(), ['one_way'], /^the only connection is one-way/],
    ['one of ten', traffic({ one_way_connections: 1 }), capture(), ['healthy'], /healthy/],
    ['datagrams that nobody answers', traffic({ one_way_conversations: 19 }), capture(), ['healthy'], /healthy/],
    ['packets that come twice', traffic({ doubled: 400 }), capture(), ['doubled'], /^400 of 1,000 packets came twice: mirror each only once/],
    ['a few that do', traffic({ doubled: 100 }), capture(), ['healthy'], /healthy/],
    ['drops of the kernel', traffic(), capture({ dropped_by_kernel: 1234 }), ['drops'], /^drops: beside 1,000 packets that were seen 1,234 by the kernel/],
    ['drops of ours and of the card', traffic(), capture({ dropped_by_kernel: null, dropped_by_us: { overload: 5, closed: 2 }, dropped_by_interface: 9 }), ['drops'], /seen 7 by us.*; 9 by the network card/],
    ['cut packets', traffic({ cut: 7 }), capture(), ['cut'], /^7 of 1,000 packets are cut short: raise snap_length/],
    ['merged packets', traffic({ merged: 300 }), capture(), ['merged'], /^300 of 1,000 packets were put together by the network card/],
    ['malformed packets', traffic({ malformed: 11 }), capture(), ['malformed'], /^11 of 1,000/],
    ['a stray malformed packet', traffic({ malformed: 1 }), capture(), ['healthy'], /healthy/],
    ['few packets', traffic({ packets: 19, unicast: 19, broadcast: 0, multicast: 0 }), capture(), ['few'], /^only 19 packets: too few/],
    ['everything at once, worst first', traffic({ one_way_connections: 10, cut: 1, merged: 1, malformed: 500, own_unicast: 950 }), capture({ dropped_by_kernel: 1 }), ['own_traffic', 'one_way', 'drops', 'cut', 'merged', 'malformed'], /own traffic/],
  ]; // biome-ignore format: a table
  test.each(CASES)('of %s', (_, seen, port, codes, text) => {
    const verdicts = verdictsOf(seen, port);
    expect(verdicts.map(({ code }) => code)).toEqual(codes);
    expect(verdicts[0].text).toMatch(text);
  });
});
