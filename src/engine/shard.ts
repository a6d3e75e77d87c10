import { type BatchRange, PacketRing, type RingBuffers } from '../capture/batch.ts';
import { Decoder, type DecoderOptions } from '../decode/decode.ts';
import { Decoded, Packet } from '../decode/packet.ts';
import { PduAtHand } from '../dissect/conversation.ts';
import { Dissection } from '../dissect/dissection.ts';
import type { Reader } from '../dissect/reader.ts';
import type { Registry } from '../dissect/registry.ts';
import { FlowState, RECOGNISED_BY_NAMES, type Stamp } from '../flow/flow-state.ts';
import {
  DIRTY,
  FIN,
  FIN_SEEN,
  type FlowLimits,
  FlowTable,
  FROM_START,
  JUDGED,
  OPENER_CERTAIN,
  PAYLOAD_SEEN,
  PROTOCOL_ETHERNET,
  RESET,
  RST,
  SPOKEN,
  shardOf,
  shardOfIpv4,
} from '../flow/flow-table.ts';
import { Framer, type PduSink } from '../flow/framer.ts';
import { TcpOrder } from '../flow/tcp-order.ts';
import type { PolicyModel } from '../policy/conduits.ts';
import { FlowTags } from '../recording/tag.ts';
import { flowEndpoint, ipBytes, macBytes, protocolName, vlanList } from './endpoint.ts';
import { FactLog } from './fact-log.ts';
import { FactsConsumer } from './facts-consumer.ts';
import type { Failure } from './failure.ts';
import { Findings } from './findings.ts';
import { FlowNotes } from './flow-notes.ts';
import { PolicyWatch } from './policy-watch.ts';
import { RecordsConsumer } from './records-consumer.ts';
import type { RowConsumer } from './row-consumer.ts';
import { ShardProgress } from './shard-progress.ts';
import { Shedder } from './shedding.ts';
import { Unanswered } from './unanswered.ts';

export interface ShardOptions {
  shard: number;
  shards: number;
  /** What comes out: facts and findings, or every record as JSON Lines. */
  output: 'facts' | 'records';
  /** Names of the dissectors whose records are wanted; null: all. */
  protocols: string[] | null;
  policy: PolicyModel | null;
  flow_limits?: Partial<FlowLimits>;
  verify_checksums?: DecoderOptions['verify_checksums'];
  /** What `SheddingOptions` has; its default where left out. */
  bulk_bytes?: number;
  /** Where is said of each packet whose it is, for the recorder; left out where nothing is recorded. */
  tags?: SharedArrayBuffer;
}

/** Packet time between two reports of a flow's counts, each flow in its own second of it: all at once would be a million facts a batch. */
const FLUSH_SECONDS = 60;
const ARP = 0x0806;
const TCP = 6;
const UDP = 17;
const MAX_FAILURES_A_BATCH = 16;

/**
 * One shard of the engine, without threads: packets in, rows, facts and findings out. A packet's way is read top to bottom in
 * `process` and `packet`: decode, flow, evidence link, stream or datagram, PDU, consumers.
 */
export class Shard implements PduSink {
  readonly table: FlowTable;
  readonly decoder: Decoder;
  readonly facts = new FactLog();
  readonly findings: Findings;
  readonly records: RecordsConsumer | null;
  readonly shedder: Shedder;
  /** The last failures of dissectors. */
  readonly failures: Failure[] = [];
  private readonly options: ShardOptions;
  private readonly progress: ShardProgress;
  private readonly ring: PacketRing;
  private readonly registry: Registry;
  private readonly packet_ = new Packet();
  /** What the PDUs at hand belong to: the packet, and its stamp; of a flow that ends, its last one. */
  private at_hand: Packet = this.packet_;
  private stamp: Stamp = this.packet_;
  private readonly pdu_at_hand = new PduAtHand();
  private readonly last_packet = new Packet();
  private readonly last_stamp: Stamp = { frame: 0, seconds: 0, nanoseconds: 0, time_ms: 0 };
  private readonly dissection: Dissection;
  private readonly framer: Framer;
  private readonly tcp: TcpOrder;
  private readonly tags: FlowTags | null;
  private policy: PolicyWatch | null;
  private readonly unanswered: Unanswered;
  private readonly factsConsumer: FactsConsumer | null;
  private readonly consumer: RowConsumer;
  /** Flows with counts that were not said, by the second of FLUSH_SECONDS in which they are. */
  private readonly dirty: number[][] = Array.from({ length: FLUSH_SECONDS }, () => []);
  /** Of the last packet; and the latest there was, which counts are said by. */
  private second = Number.NaN;
  private clock = Number.NaN;
  /** The first second of a time before `clock`, where packets have come to be there. */
  private behind_since = Number.NaN;
  /** The capture is over, with this frame. */
  private finishing = false;
  private newest = 0;
  /** Then: all flows by their ids, and how many of them have ended. */
  private ending: Uint32Array | null = null;
  private ended_count = 0;
  private slot = -1;

  constructor(buffers: RingBuffers, registry: Registry, options: ShardOptions, progress = new ShardProgress()) {
    this.options = options;
    this.progress = progress;
    this.registry = registry;
    this.ring = new PacketRing(buffers);
    this.decoder = new Decoder(this.ring, { verify_checksums: options.verify_checksums });
    this.table = new FlowTable((is_tcp, port) => registry.onPort(is_tcp, port).length > 0, options.flow_limits);
    this.table.onEnd = (slot) => this.ended(slot);
    this.dissection = new Dissection(registry, progress);
    this.tags = options.tags ? new FlowTags(options.tags, this.table.limits.max_flows) : null;
    this.shedder = new Shedder(registry, options.bulk_bytes);
    this.framer = new Framer(registry, this);
    this.tcp = new TcpOrder(this.table, this.framer);
    this.findings = new Findings(this.table, this.facts);
    this.policy = this.watch(options.policy);
    this.unanswered = new Unanswered(this.table);
    if (options.output === 'records') {
      const wanted = options.protocols?.map((name) => registry.indexOf(name)) ?? null;
      this.records = new RecordsConsumer(registry, this.table, wanted);
      this.consumer = this.records;
      this.factsConsumer = null;
    } else {
      this.records = null;
      this.factsConsumer = new FactsConsumer(registry, this.table, this.facts, this.findings, this.policy);
      this.consumer = this.factsConsumer;
    }
  }

  private watch(model: PolicyModel | null): PolicyWatch | null {
    return model && new PolicyWatch(model, this.registry, this.table, this.findings, (slot) => this.stateOf(slot));
  }

  /**
   * Between two batches: from the next packet on another policy holds, for the flows that are there too. What they were found to cross
   * is forgotten, and found again where it still is a crossing; the collector knows it by its key.
   */
  setPolicy(model: PolicyModel | null): void {
    const { table } = this;
    this.policy = this.watch(model);
    if (this.factsConsumer !== null) this.factsConsumer.policy = this.policy;
    table.forEach((slot) => {
      table.flags[slot] &= ~JUDGED;
      const state = table.states[slot];
      if (state !== undefined) this.findings.forgetCrossings(state.notes as FlowNotes);
    });
  }

  /** Works through a batch. What it found is in `facts` (or `records`) afterwards. */
  process(range: BatchRange): void {
    const { decoder, packet_: p, progress, ring } = this;
    const { shards, shard } = this.options;
    const end = range.first_frame + range.count;
    for (let frame = range.first_frame; frame < end; frame++) {
      progress.frame = frame;
      if (shards > 1) {
        const ip = decoder.plainHeader(frame);
        if (ip >= 0 && shardOfIpv4(ring.bytes, ip, shards) !== shard) {
          const seconds = ring.seconds(ring.entry(frame));
          if (seconds !== this.second) this.nextSecond(seconds, frame);
          continue;
        }
      }
      const decoded = decoder.decode(frame, p);
      // Every shard sees every packet, so all of them say their counts behind the same one.
      if (p.seconds !== this.second) this.nextSecond(p.seconds, frame);
      if (shards > 1 && shardOf(p, shards) !== shard) continue;
      progress.packets++;
      decoder.count(p, decoded);
      if (decoded === Decoded.ok) this.packet(p);
      else {
        this.ring.link(frame, 0);
        this.tags?.other(p, decoded === Decoded.malformed);
      }
    }
    this.findings.flush();
  }

  private packet(p: Packet): void {
    const { table } = this;
    table.find(p);
    const { slot, direction } = table;
    this.slot = slot;
    const sender = slot * 2 + direction;
    if (table.is_new) this.opened(slot, direction, p);
    this.link(slot, p);
    table.packets[sender]++;
    table.bytes[sender] += p.wire;
    table.last_ms[slot] = p.time_ms;
    this.senderMac(slot, direction, p);
    if ((table.flags[slot] & DIRTY) === 0) {
      table.flags[slot] |= DIRTY;
      this.dirty[turnOf(table.id[slot])].push(slot);
    }
    let state = table.states[slot];
    if (state !== undefined) {
      const notes = state.notes as FlowNotes;
      if (notes.follow_packets > 0) this.findings.follow(notes, p);
    }
    const has_payload = p.payload_end - p.payload + p.payload_missing > 0;
    if (this.shedder.level > 0 && has_payload && this.sheds(slot, direction, state, p)) {
      this.tag(slot, p);
      return;
    }
    switch (p.ip_protocol) {
      case TCP:
        if (state === undefined && has_payload) state = this.newState(slot, true);
        this.tcp.receive(slot, direction, p, state);
        if ((p.tcp_flags & (RST | FIN)) !== 0) this.closing(slot, p);
        break;
      case UDP:
        if (!has_payload) break;
        state ??= this.newState(slot, false);
        this.framer.datagram(state, direction, p.bytes, p.payload, p.payload_end, p.payload_missing);
        break;
      default:
        if (p.ip_version !== 0) this.policy?.conversation(slot, p);
        else if (p.link_payload >= 0) this.linkPayload(slot, direction, p, state);
    }
    this.tag(slot, p);
  }

  /** Tells the recorder whose the packet is, also of one that is left undone. */
  private tag(slot: number, p: Packet): void {
    if (this.tags === null) return;
    const state = this.table.states[slot];
    this.tags.packet(p, slot, this.table.is_new, state !== undefined && state.dissector >= 0);
  }

  /** The payload is left out; to the stream it is a hole, as if the mirror port had lost it. */
  private sheds(slot: number, direction: 0 | 1, state: FlowState | undefined, p: Packet): boolean {
    if (p.ip_protocol !== TCP && p.ip_protocol !== UDP) return false;
    const { bytes } = this.table;
    if (!this.shedder.sheds(state, p, p.ip_protocol === TCP, bytes[slot * 2] + bytes[slot * 2 + 1])) return false;
    if (p.ip_protocol === TCP && (p.tcp_flags & (RST | FIN)) !== 0) {
      this.tcp.close(slot, direction, p.tcp_flags);
      this.closing(slot, p);
    }
    return true;
  }

  private linkPayload(slot: number, direction: 0 | 1, p: Packet, known: FlowState | undefined): void {
    const state = known ?? this.newState(slot, false);
    if (p.ethertype === ARP) this.arpOwner(direction, state, p);
    this.framer.frame(state, direction, p.ethertype, p.bytes, p.link_payload, p.link_payload_end, p.wire - p.captured);
  }

  private opened(slot: number, direction: 0 | 1, p: Packet): void {
    const { table } = this;
    const receiver = slot * 2 + 1 - direction;
    if (p.mac_destination >= 0) {
      const b = p.link_bytes;
      const d = p.mac_destination;
      table.mac_high[receiver] = (b[d] << 8) | b[d + 1];
      table.mac_low[receiver] = (b[d + 2] << 24) | (b[d + 3] << 16) | (b[d + 4] << 8) | b[d + 5];
    }
    const sender = slot * 2 + direction;
    if (p.mac_source >= 0) {
      const b = p.link_bytes;
      const s = p.mac_source;
      table.mac_high[sender] = (b[s] << 8) | b[s + 1];
      table.mac_low[sender] = (b[s + 2] << 24) | (b[s + 3] << 16) | (b[s + 4] << 8) | b[s + 5];
    }
    if (this.factsConsumer === null) return;
    if (this.policy !== null && p.ip_protocol === TCP && (table.flags[slot] & FROM_START) !== 0) this.unanswered.opened(slot);
    this.facts.add({
      frame: p.frame,
      time_ms: p.time_ms,
      flow_opened: {
        flow_id: table.id[slot],
        opener: flowEndpoint(table, slot, 0),
        responder: flowEndpoint(table, slot, 1),
        vlan: vlanList(p),
        proto: p.ethertype === ARP && p.ip_version === 0 ? 'arp' : protocolName(table.protocol(slot)),
        opener_certain: (table.flags[slot] & OPENER_CERTAIN) !== 0,
        ethertype: p.ip_version === 0 ? p.ethertype : 0,
      },
    });
  }

  /** Links the packet to the one before it in its flow: the way back that evidence goes. */
  private link(slot: number, p: Packet): void {
    const { table, ring } = this;
    const { frame } = p;
    let last = table.last_frame[slot];
    if (p.reassembled) {
      const { fragmentFrames: frames, fragmentFrameCount } = this.decoder.fragments;
      for (let i = 0; i < fragmentFrameCount; i++) {
        if (frames[i] === frame) continue;
        ring.link(frames[i], last >= frames[i] ? 0 : last);
        last = frames[i];
      }
    }
    ring.link(frame, last);
    table.last_frame[slot] = frame;
    const early = slot * 2;
    if (table.early_frames[early] === 0) {
      if (frame !== table.id[slot]) table.early_frames[early] = frame;
    } else if (table.early_frames[early + 1] === 0) table.early_frames[early + 1] = frame;
  }

  /** Keeps the sender's MAC address; a new one, and the first, are facts. */
  private senderMac(slot: number, direction: 0 | 1, p: Packet): void {
    const s = p.mac_source;
    const { table } = this;
    const b = p.link_bytes;
    const at = slot * 2 + direction;
    // Raw IP and the like have none: 0.
    const high = s < 0 ? 0 : (b[s] << 8) | b[s + 1];
    const low = s < 0 ? 0 : ((b[s + 2] << 24) | (b[s + 3] << 16) | (b[s + 4] << 8) | b[s + 5]) >>> 0;
    const spoken = SPOKEN[direction];
    if ((table.flags[slot] & spoken) !== 0 && table.mac_low[at] === low && table.mac_high[at] === high) return;
    const isKnown = (table.flags[slot] & spoken) !== 0 && table.former_mac_low[at] === low && table.former_mac_high[at] === high;
    table.flags[slot] |= spoken;
    table.former_mac_high[at] = table.mac_high[at];
    table.former_mac_low[at] = table.mac_low[at];
    table.mac_high[at] = high;
    table.mac_low[at] = low;
    table.vlan[at] = p.vlan;
    const state = table.states[slot];
    const rare = state === undefined ? null : (state.notes as FlowNotes).rare;
    if (rare !== null) rare.envelope = null;
    if (this.factsConsumer === null || (p.ethertype === ARP && p.ip_version === 0)) return;
    // Inside a tunnel that has no Ethernet of its own the MAC addresses are those of the tunnel's ends.
    if (p.link_tunnels !== p.tunnels) return;
    if (isKnown && this.wasSaid(at)) return;
    this.facts.add({
      frame: p.frame,
      time_ms: p.time_ms,
      binding: { endpoint: flowEndpoint(table, slot, direction), vlan: vlanList(p), how: 'traffic' },
    });
  }

  /**
   * A mirror port that shows both sides of a router gives every packet twice, with two MAC addresses in turn. Once both are facts, they are
   * again in the next stretch of time, each twice at most; a fact a packet would be the most expensive thing there is.
   */
  private wasSaid(at: number): boolean {
    const { alternations } = this.table;
    const stretch = (Math.floor(this.clock / FLUSH_SECONDS) & 0x3fffffff) * 4;
    const said = alternations[at] - stretch;
    if (said >= 0 && said < 3) {
      alternations[at]++;
      return false;
    }
    if (said === 3) return true;
    alternations[at] = stretch + 1;
    return false;
  }

  /** ARP: the sender says which address is its own. */
  private arpOwner(direction: 0 | 1, state: FlowState, p: Packet): void {
    const notes = state.notes as FlowNotes;
    const owner = p.source[3];
    if (this.factsConsumer === null || p.mac_source < 0 || p.source[2] !== 0xffff || notes.rare?.arp_owner?.[direction] === owner)
      return;
    const rare = notes.own_rare;
    rare.arp_owner ??= [0, 0];
    rare.arp_owner[direction] = owner;
    const at = this.slot * 2 + direction;
    const mac = macBytes(this.table.mac_high[at], this.table.mac_low[at]);
    const ip = owner === 0 ? new Uint8Array(0) : ipBytes(p.source, 0);
    this.facts.add({
      frame: p.frame,
      time_ms: p.time_ms,
      binding: { endpoint: { mac, ip, port: 0 }, vlan: vlanList(p), how: 'arp' },
    });
  }

  private stateOf(slot: number): FlowState {
    return this.table.states[slot] ?? this.newState(slot, this.table.protocol(slot) === TCP);
  }

  private newState(slot: number, is_stream: boolean): FlowState {
    const { table } = this;
    const state = new FlowState(this.pdu_at_hand);
    const isIp = table.protocol(slot) !== PROTOCOL_ETHERNET;
    state.opener_port = isIp ? table.port(slot, 0) : 0;
    state.responder_port = isIp ? table.port(slot, 1) : 0;
    state.is_stream = is_stream;
    state.from_start = (table.flags[slot] & FROM_START) !== 0;
    state.notes = new FlowNotes();
    if (is_stream && (table.flags[slot] & OPENER_CERTAIN) !== 0) state.client_direction = 0;
    table.states[slot] = state;
    table.flags[slot] |= PAYLOAD_SEEN;
    return state;
  }

  // ── from the framer ──

  pdu(state: FlowState, direction: 0 | 1, r: Reader, complete: boolean): void {
    const { at_hand: p, dissection, pdu_at_hand, slot } = this;
    const notes = state.notes as FlowNotes;
    const stamp = this.tcp.released ?? this.stamp;
    pdu_at_hand.direction = direction;
    pdu_at_hand.time_ms = stamp.time_ms;
    pdu_at_hand.frame = stamp.frame;
    pdu_at_hand.source_port = direction === 0 ? state.opener_port : state.responder_port;
    pdu_at_hand.destination_port = direction === 0 ? state.responder_port : state.opener_port;
    if (notes.pdu_frame === stamp.frame) notes.pdu_index++;
    else {
      notes.pdu_frame = stamp.frame;
      notes.pdu_index = 0;
    }
    dissection.run(state.dissector, r, state, complete);
    if (dissection.failed !== null) this.failed(state);
    this.consumer.rows(slot, state, notes, p, stamp, dissection);
  }

  unrecognised(state: FlowState, direction: 0 | 1): void {
    const { at_hand: p, slot, table } = this;
    const notes = state.notes as FlowNotes;
    this.policy?.conversation(slot, p);
    if (this.factsConsumer === null || !state.is_stream || (table.flags[slot] & FROM_START) === 0) return;
    const expected = this.registry.onPort(true, state.responder_port);
    if (expected.length === 0 || this.findings.repeats(notes, 'unexpected_protocol', 0, p)) return;
    const details = {
      port: String(state.responder_port),
      expected: expected.map((index) => this.registry.dissectors[index].name).join(' or '),
    };
    this.findings.raise(slot, notes, 'unexpected_protocol', 0, p, { direction, app_proto: '', operation: '', details });
  }

  /** A dissector threw: the flow is put aside, the engine goes on. */
  private failed(state: FlowState): void {
    const { dissector, error } = this.dissection.failed!;
    state.aside = true;
    if (this.failures.length < MAX_FAILURES_A_BATCH) {
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.failures.push({ dissector, frame: this.stamp.frame, how: 'threw', error: why, lost: 0 });
    }
  }

  // ── the end of flows ──

  private closing(slot: number, p: Packet): void {
    const { table } = this;
    const flags = table.flags[slot];
    const over = (flags & RESET) !== 0 || ((flags & FIN_SEEN[0]) !== 0 && (flags & FIN_SEEN[1]) !== 0);
    if (!over) return;
    const state = table.states[slot];
    if (state !== undefined) {
      this.tcp.finish(slot, state);
      this.framer.finish(state);
    }
    if (state === undefined || state.dissector < 0) this.policy?.conversation(slot, p);
  }

  /** The flow leaves the table. */
  private ended(slot: number): void {
    const { table } = this;
    const state = table.states[slot];
    const outer = this.slot;
    this.slot = slot;
    this.lastWords(slot, this.finishing ? this.newest : this.packet_.frame);
    if (state !== undefined) {
      this.tcp.finish(slot, state);
      this.framer.finish(state);
    }
    if (state === undefined || state.dissector < 0) this.policy?.conversation(slot, this.at_hand);
    this.sayFlow(slot, true, this.finishing ? this.newest + 0.5 : this.packet_.frame - 0.5);
    if (state !== undefined) this.factsConsumer?.forget(state.notes as FlowNotes);
    this.slot = outer;
    this.at_hand = this.stamp = this.packet_;
  }

  /**
   * What comes out now belongs to the flow's last packet; its time in full is there as long as the ring remembers it. The frame that
   * orders it is that of the packet which ended the flow.
   */
  private lastWords(slot: number, newest: number): void {
    const { table, ring, last_packet: p, last_stamp: stamp } = this;
    stamp.frame = table.last_frame[slot];
    stamp.time_ms = p.time_ms = table.last_ms[slot];
    const remembered = ring.remembers(stamp.frame, newest);
    const entry = ring.entry(stamp.frame);
    stamp.seconds = p.seconds = remembered ? ring.seconds(entry) : Math.floor(p.time_ms / 1000);
    stamp.nanoseconds = p.nanoseconds = remembered ? ring.nanoseconds(entry) : Math.floor((p.time_ms % 1000) * 1000) * 1000;
    p.frame = this.finishing ? stamp.frame : newest;
    const vlans = table.vlansOf(slot);
    p.vlans.set(vlans);
    p.vlan_count = vlans.length;
    this.at_hand = p;
    this.stamp = stamp;
  }

  /** A new second of packet time begins with `frame`: says the counts of the flows whose turn it is, up to it. */
  private nextSecond(second: number, frame: number): void {
    this.second = second;
    if (this.policy !== null) this.judge(this.unanswered.due(second), frame, frame - 0.5);
    const { clock } = this;
    if (second < clock) {
      // A clock that was set back is believed after a minute in which nothing told the old time: interfaces out of step must not bring
      // counts out at every packet.
      if (Number.isNaN(this.behind_since) || second < this.behind_since) this.behind_since = second;
      if (second - this.behind_since < FLUSH_SECONDS) return;
    }
    this.behind_since = Number.NaN;
    if (second === clock) return;
    this.clock = second;
    if (Number.isNaN(clock)) return;
    const turns = second < clock ? FLUSH_SECONDS : Math.min(second - clock, FLUSH_SECONDS);
    for (let back = turns - 1; back >= 0; back--) this.sayDirty(turnOf(second - back), frame - 0.5);
  }

  /** Says the counts of all flows up to `newest`, the last frame there was; what waits for an answer has waited for it. */
  sayFlows(newest: number): void {
    this.judge(this.unanswered.all(), newest, newest + 0.5);
    for (let turn = 0; turn < FLUSH_SECONDS; turn++) this.sayDirty(turn, newest + 0.5);
  }

  /** Holds conversations that were opened and not answered against the policy; `order` as of `sayFlow`. */
  private judge(slots: readonly number[], newest: number, order: number): void {
    for (const slot of slots) {
      this.lastWords(slot, newest);
      this.last_packet.frame = order;
      this.policy?.conversation(slot, this.last_packet);
    }
    this.at_hand = this.stamp = this.packet_;
  }

  private sayDirty(turn: number, order: number): void {
    const { table } = this;
    const dirty = this.dirty[turn];
    if (dirty.length === 0) return;
    dirty.sort((a, b) => table.id[a] - table.id[b]);
    for (const slot of dirty) {
      table.flags[slot] &= ~DIRTY;
      this.sayFlow(slot, false, order);
    }
    this.dirty[turn] = [];
  }

  /** `order` is a frame, or lies between two: what is said then comes behind the facts of the one and before those of the other. */
  private sayFlow(slot: number, ended: boolean, order: number): void {
    const { table, factsConsumer } = this;
    this.progress.flows_said++;
    if (factsConsumer === null) return;
    const state = table.states[slot];
    const at = slot * 2;
    if (table.packets[at] + table.packets[at + 1] === 0 && !ended) return;
    const dissector = state === undefined ? -1 : innermost(state);
    // Activities first: with its last update the flow is over.
    if (state !== undefined) factsConsumer.sayActivities(slot, state.notes as FlowNotes, order);
    this.facts.add({
      frame: order,
      time_ms: table.last_ms[slot],
      flow_update: {
        flow_id: table.id[slot],
        app_proto: dissector >= 0 ? this.registry.dissectors[dissector].name : '',
        recognised_by: state === undefined ? '' : RECOGNISED_BY_NAMES[state.recognised_by],
        packets_from_opener: table.packets[at],
        packets_from_responder: table.packets[at + 1],
        bytes_from_opener: table.bytes[at],
        bytes_from_responder: table.bytes[at + 1],
        first_ms: table.first_ms[slot],
        last_ms: table.last_ms[slot],
        client: state === undefined ? -1 : state.client_direction,
        ended,
        opener_certain: (table.flags[slot] & OPENER_CERTAIN) !== 0,
      },
    });
    table.packets[at] = table.packets[at + 1] = 0;
    table.bytes[at] = table.bytes[at + 1] = 0;
  }

  /**
   * The capture is over, `newest` was its last frame: the last words of the flows that began before the frame `flows_before`. Returns
   * the first frame of the next flow; Infinity when all have ended. To be called until then.
   */
  finish(newest: number, flows_before = Number.POSITIVE_INFINITY): number {
    const { table } = this;
    this.finishing = true;
    this.newest = newest;
    this.ending ??= table.byId();
    const { ending } = this;
    while (this.ended_count < ending.length && table.id[ending[this.ended_count]] < flows_before)
      this.ended(ending[this.ended_count++]);
    this.findings.flush();
    this.records?.sort();
    return this.ended_count < ending.length ? table.id[ending[this.ended_count]] : Number.POSITIVE_INFINITY;
  }

  /** All counters of this shard, by name. Those of tables that are the same in every shard come from the first alone. */
  allCounters(): Record<string, number> {
    const own = prefixed({
      decode: this.decoder.counters.toRecord(),
      flow: this.table.counters,
      tcp: this.tcp.counters,
      framing: this.framer.counters,
      dissect: this.dissection.counters,
      findings: this.findings.counters,
      policy: this.unanswered.counters,
      facts: { dropped: this.facts.dropped, ...this.factsConsumer?.counters },
      shed: this.shedder.counters,
    });
    return this.options.shard === 0 ? { ...own, ...prefixed({ decode: this.decoder.sharedCounters }) } : own;
  }
}

/** Which second of FLUSH_SECONDS a time is in, or the turn of a flow. */
function turnOf(number: number): number {
  const turn = Math.floor(number) % FLUSH_SECONDS;
  return turn < 0 ? turn + FLUSH_SECONDS : turn;
}

/** The protocol that the recognised one carries, as far down as something was recognised: S7 in COTP in TPKT. */
function innermost({ dissector, children }: FlowState): number {
  let index = dissector;
  while (children !== null && index >= 0 && children[index] !== undefined) index = children[index];
  return index;
}

function prefixed(groups: Record<string, Readonly<Record<string, number>>>): Record<string, number> {
  const all: Record<string, number> = {};
  for (const [group, values] of Object.entries(groups))
    for (const [name, value] of Object.entries(values)) if (value !== 0) all[`${group}.${name}`] = value;
  return all;
}
