import type { InterfaceReport } from './capture-thread.ts';
import type { PortTraffic } from './port-traffic.ts';

/** What an interface is like as a mirror port: what is worst first in `verdictsOf`. */
export type VerdictCode =
  | 'not_captured'
  | 'no_link'
  | 'silent'
  | 'only_broadcast'
  | 'own_traffic'
  | 'one_way'
  | 'doubled'
  | 'drops'
  | 'cut'
  | 'merged'
  | 'malformed'
  | 'few'
  | 'healthy';

export interface Verdict {
  code: VerdictCode;
  /** For an operator: what is so, and what to do about it. */
  text: string;
}

/** What is known of the capture: a capture file has none of it. */
export interface PortCapture extends Pick<InterfaceReport, 'state' | 'message' | 'dropped_by_us' | 'dropped_by_interface'> {
  /** null where the backend cannot tell. */
  dropped_by_kernel: number | null;
  filtered: boolean;
  /** Has it a link? null where that is not known. */
  link: boolean | null;
}

/** Fewer packets say nothing about a port. */
const FEW_PACKETS = 20;
/** Connections of which one side is not heard: above this share the mirror is at fault, and not a host that fell silent. */
const ONE_WAY_SHARE = 0.2;
/** Below this share of unicast, and with nobody heard from both sides, it is only what a switch floods. */
const FLOODED_SHARE = 0.1;
/** Traffic that is this machine's own, with frames of others by mistake of a switch. */
const OWN_SHARE = 0.98;
/** Where all that can be told apart comes twice, it is half of them. */
const DOUBLED_SHARE = 0.15;
const MALFORMED_SHARE = 0.01;

/**
 * Judges an interface by what was seen of it: what is wrong, worst first, or `healthy` alone. `capture` is null for a capture file.
 * The same for a short measurement and for what a running sensor has counted.
 */
export function verdictsOf(traffic: PortTraffic, capture: PortCapture | null): Verdict[] {
  if (capture !== null && capture.state !== 'capturing' && traffic.packets === 0)
    return [{ code: 'not_captured', text: `not captured: ${capture.message || capture.state}` }];
  const { packets } = traffic;
  if (packets === 0) return [nothing(capture)];
  const found = [
    wrongKindOfPort(traffic),
    oneWay(traffic),
    doubled(traffic),
    capture && drops(traffic, capture),
    ...forms(traffic),
  ];
  const verdicts = found.filter((verdict) => verdict !== null);
  if (verdicts.length > 0) return verdicts;
  if (packets < FEW_PACKETS)
    return [{ code: 'few', text: `only ${packets} packets: too few to judge; measure for longer (--seconds)` }];
  return [
    {
      code: 'healthy',
      text: traffic.tunneled > packets / 2 ? 'healthy mirror port, by tunnel (ERSPAN, GRE, …)' : 'healthy mirror port',
    },
  ];
}

function nothing(capture: PortCapture | null): Verdict {
  if (capture?.link === false)
    return { code: 'no_link', text: 'nothing arrives: no link; check the cable and that the switch port is on' };
  const filter = capture?.filtered ? ', or the filter lets nothing through' : '';
  return {
    code: 'silent',
    text: `nothing arrives: check that the mirror session of the switch is on and has this port as its destination${filter}`,
  };
}

function wrongKindOfPort(traffic: PortTraffic): Verdict | null {
  const { packets, unicast, own_unicast, tunneled, conversations, one_way_conversations } = traffic;
  const both_heard = conversations > one_way_conversations;
  // The process bus of a substation has nothing else.
  if (published(traffic) > packets / 2) return null;
  if (unicast === 0 && packets >= FEW_PACKETS) {
    return { code: 'only_broadcast', text: `only ${kinds(traffic)}: this port is not a mirror port` };
  }
  if (unicast / packets < FLOODED_SHARE && !both_heard && packets >= FEW_PACKETS) {
    const text = `hardly anything but ${kinds(traffic)}: this port is not a mirror port (the rest is what a switch floods)`;
    return { code: 'only_broadcast', text };
  }
  if (unicast >= FEW_PACKETS && tunneled === 0 && own_unicast >= unicast * OWN_SHARE)
    return { code: 'own_traffic', text: "only this machine's own traffic: this port is not a mirror port" };
  return null;
}

/** Packets of protocols that are meant to go to many. */
const published = ({ protocols }: PortTraffic) =>
  protocols.reduce((sum, { name, packets }) => sum + (PUBLISHED.includes(name) ? packets : 0), 0);
const PUBLISHED = ['goose', 'sv'];

function kinds({ broadcast, multicast }: PortTraffic): string {
  if (broadcast === 0) return 'multicast';
  return multicast === 0 ? 'broadcast' : 'broadcast and multicast';
}

function oneWay({ connections, one_way_connections }: PortTraffic): Verdict | null {
  const share = one_way_connections / connections;
  if (connections === 0 || share < ONE_WAY_SHARE) return null;
  const words = share === 1 ? 'all' : share > 0.55 ? 'most' : share >= 0.45 ? 'half' : percent(share);
  const conversations = connections === 1 ? 'the only connection is' : `${words} of the connections are`;
  return {
    code: 'one_way',
    text: `${conversations} one-way: mirror both directions (ingress and egress, all members of a link bundle)`,
  };
}

function doubled({ packets, doubled }: PortTraffic): Verdict | null {
  if (doubled < packets * DOUBLED_SHARE) return null;
  const text = `${doubled.toLocaleString('en')} of ${packets.toLocaleString('en')} packets came twice: mirror each only once (ports or their uplink, one VLAN of two that are routed)`;
  return { code: 'doubled', text };
}

function drops({ packets }: PortTraffic, capture: PortCapture): Verdict | null {
  const ours = Object.values(capture.dropped_by_us).reduce((sum, count) => sum + count, 0);
  const { dropped_by_kernel, dropped_by_interface } = capture;
  const parts = [
    [dropped_by_kernel ?? 0, 'by the kernel, whose ring ran over: raise buffer_bytes'],
    [ours, 'by us, who did not keep up: more shards, or a filter'],
    [dropped_by_interface, 'by the network card: raise its ring (ethtool -G)'],
  ].filter(([count]) => count !== 0);
  if (parts.length === 0) return null;
  const lost = parts.map(([count, why]) => `${count.toLocaleString('en')} ${why}`).join('; ');
  return { code: 'drops', text: `drops: beside ${packets.toLocaleString('en')} packets that were seen ${lost}` };
}

function forms({ packets, cut, merged, malformed }: PortTraffic): (Verdict | null)[] {
  const of = (count: number) => `${count.toLocaleString('en')} of ${packets.toLocaleString('en')} packets`;
  return [
    cut === 0
      ? null
      : { code: 'cut', text: `${of(cut)} are cut short: raise snap_length, and let the switch mirror whole frames` },
    merged === 0
      ? null
      : {
          code: 'merged',
          text: `${of(merged)} were put together by the network card: switch its offloads off (ethtool -K NAME gro off lro off) for true frames`,
        },
    malformed / packets < MALFORMED_SHARE
      ? null
      : { code: 'malformed', text: `${of(malformed)} have headers that contradict themselves` },
  ];
}

const percent = (share: number) => `${Math.round(share * 100)} %`;
