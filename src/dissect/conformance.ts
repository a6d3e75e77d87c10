import {
  type CutPdu,
  type MemoryPacket,
  merged,
  pdusOf,
  pseudoRandom,
  type RunResult,
  recut,
  runPackets,
  type Segment,
  segmentsOf,
  type TcpScript,
  tcpPackets,
  tcpScripts,
} from '../engine/testing.ts';
import { Conversation } from './conversation.ts';
import { Dissection } from './dissection.ts';
import type { AnyDissector } from './dissector.ts';
import { JsonWriter } from './json.ts';
import { OPERATION_NAMES, STATUS_NAMES } from './operation.ts';
import { Reader } from './reader.ts';
import { Registry } from './registry.ts';

/**
 * What every dissector must keep to, whatever its protocol, tried on captures that hold it: any cut and any changed byte, any
 * segmentation, loss, repetition and order of TCP segments, and the captures of all other protocols.
 * Each check gives back its faults in words; none is what is expected.
 */
export interface Capture {
  name: string;
  packets: readonly MemoryPacket[];
}

/** PDUs of a conversation that are played before the one that is damaged: what it answers is among them. */
const CONTEXT_PDUS = 24;
/** PDUs of one kind (dissector, direction, first record, size) that are damaged; the others would show the same. */
const OF_A_KIND = 2;
/** Lengths that are tried of a long PDU: all of its start, then every few bytes. */
const ALL_CUTS_BELOW = 96;
/** A PDU that takes longer is taken for an endless loop. */
const MAX_MS_A_PDU = 2000;
const MAX_FAULTS = 20;

const all = (text: readonly string[]): string[] => text.slice(0, MAX_FAULTS);

// ── PDU by PDU ──

interface Damaged {
  capture: string;
  pdu: CutPdu;
  context: CutPdu[];
}

/** PDUs to damage, a few of each kind, with what was said before them. */
function specimens(registry: Registry, captures: readonly Capture[]): Damaged[] {
  const seen = new Map<string, number>();
  const chosen: Damaged[] = [];
  for (const { name, packets } of captures) {
    const before = new Map<unknown, CutPdu[]>();
    for (const pdu of pdusOf(packets, registry)) {
      const earlier = before.get(pdu.state) ?? [];
      before.set(pdu.state, earlier);
      const start = Buffer.from(pdu.bytes.subarray(0, 12)).toString('latin1');
      const kind = `${pdu.dissector} ${pdu.direction} ${pdu.bytes.length} ${start.length} ${pdu.bytes[7]} ${pdu.bytes[8]} ${pdu.bytes[12]}`;
      const count = seen.get(kind) ?? 0;
      if (count < OF_A_KIND && pdu.complete) {
        seen.set(kind, count + 1);
        chosen.push({ capture: name, pdu, context: earlier.slice(-CONTEXT_PDUS) });
      }
      earlier.push(pdu);
    }
  }
  return chosen;
}

/** A conversation on paper, played anew for every damaged PDU. */
class Player {
  readonly registry: Registry;
  private readonly dissection: Dissection;
  private readonly out = new JsonWriter();

  constructor(registry: Registry) {
    this.registry = registry;
    this.dissection = new Dissection(registry);
  }

  /** The rows of `bytes` in place of the PDU: a line each, without status; and whether every status was ok. */
  play({ pdu, context }: Damaged, bytes: Uint8Array, complete: boolean): { rows: string[]; ok: boolean; failed: unknown } {
    const { dissection } = this;
    const conversation = new Conversation();
    const { conversation: like } = pdu.state;
    conversation.is_stream = like.is_stream;
    conversation.from_start = like.from_start;
    conversation.client_direction = like.client_direction;
    for (const earlier of context) this.run(conversation, earlier, earlier.bytes, earlier.complete);
    this.run(conversation, pdu, bytes, complete);
    const { failed } = dissection;
    const rows: string[] = [];
    let ok = true;
    for (const row of dissection.rows.slice(0, dissection.count)) {
      this.out.position = 0;
      row.writeFields(this.out);
      const fields = Buffer.from(this.out.bytes.subarray(0, this.out.position)).toString();
      rows.push(`${row.type.name} ${OPERATION_NAMES[row.operation]} ${fields}`);
      if (STATUS_NAMES[row.status] !== 'ok') ok = false;
    }
    return { rows, ok, failed: failed && `${failed.dissector}: ${String(failed.error)}` };
  }

  private run(conversation: Conversation, pdu: CutPdu, bytes: Uint8Array, complete: boolean): void {
    conversation.direction = pdu.direction;
    conversation.frame = pdu.frame;
    conversation.time_ms = pdu.time_ms;
    conversation.source_port = pdu.state.ports[pdu.direction];
    conversation.destination_port = pdu.state.ports[1 - pdu.direction];
    this.dissection.run(pdu.dissector, new Reader(bytes), conversation, complete);
  }
}

/** Where it is, as a fault begins. */
const where = (registry: Registry, { capture, pdu }: Damaged): string =>
  `${capture} frame ${pdu.frame}, ${registry.dissectors[pdu.dissector].name}`;

function* lengths(size: number): Generator<number> {
  for (let length = 0; length < size; length += length < ALL_CUTS_BELOW ? 1 : 7) yield length;
}

/**
 * Each PDU cut at every length, as the capture's snap length cuts it (truncated) and as its sender might (malformed): nothing is
 * thrown, and rows that differ from the whole PDU's say that something is missing.
 */
export function checkCuts(
  dissectors: readonly AnyDissector[],
  captures: readonly Capture[],
): { faults: string[]; tried: number } {
  const registry = new Registry(dissectors);
  const player = new Player(registry);
  const faults: string[] = [];
  let tried = 0;
  for (const specimen of specimens(registry, captures)) {
    const { bytes } = specimen.pdu;
    const whole = player.play(specimen, bytes, true);
    for (const length of lengths(bytes.length)) {
      for (const complete of [false, true]) {
        tried++;
        const started = performance.now();
        const cut = player.play(specimen, bytes.slice(0, length), complete);
        const at = `${where(registry, specimen)}, ${length} of ${bytes.length} bytes${complete ? '' : ' captured'}`;
        if (cut.failed) faults.push(`${at}: threw ${cut.failed}`);
        if (performance.now() - started > MAX_MS_A_PDU) faults.push(`${at}: took ${Math.round(performance.now() - started)} ms`);
        if (cut.rows.length > 0 && !complete && cut.ok && whole.ok && cut.rows.join() !== whole.rows.join())
          faults.push(`${at}: says ok and not what the whole PDU says: ${cut.rows.join(' / ').slice(0, 300)}`);
      }
    }
  }
  return { faults: all(faults), tried };
}

/** Bytes of each PDU changed to every kind of value: nothing is thrown, no end is missed, no count from the wire makes rows out of nothing. */
export function checkFlips(
  dissectors: readonly AnyDissector[],
  captures: readonly Capture[],
): { faults: string[]; tried: number } {
  const registry = new Registry(dissectors);
  const player = new Player(registry);
  const faults: string[] = [];
  let tried = 0;
  for (const specimen of specimens(registry, captures)) {
    const { bytes } = specimen.pdu;
    const random = pseudoRandom(bytes.length);
    for (const place of lengths(bytes.length)) {
      const old = bytes[place];
      for (const value of [0, 0xff, old ^ 1, old ^ 0x80, (old + 1) & 0xff, random() & 0xff]) {
        if (value === old) continue;
        tried++;
        const changed = bytes.slice();
        changed[place] = value;
        const started = performance.now();
        const { failed, rows } = player.play(specimen, changed, true);
        const at = `${where(registry, specimen)}, byte ${place} = ${value}`;
        if (failed) faults.push(`${at}: threw ${failed}`);
        if (performance.now() - started > MAX_MS_A_PDU) faults.push(`${at}: took ${Math.round(performance.now() - started)} ms`);
        // A bit is the smallest thing that any protocol makes a row of.
        const joined = specimen.context.reduce((sum, { bytes: { length } }) => sum + length, bytes.length);
        if (rows.length > 16 + 8 * joined) faults.push(`${at}: ${rows.length} rows of ${joined} bytes`);
      }
    }
  }
  return { faults: all(faults), tried };
}

// ── segment by segment ──

/** A line without what depends on how the stream was cut into packets. */
function comparable(line: string): string {
  const { frame: _, timestamp: __, pdu_index: ___, fields, ...rest } = JSON.parse(line);
  for (const name of Object.keys(fields)) if (/_frame$|^response_time_ms$|^round_trip_ms$/.test(name)) delete fields[name];
  return JSON.stringify({ ...rest, fields });
}

const rowsOf = (result: RunResult): string[] => result.lines.map(comparable);

/** The first line in which two runs differ; '' where they are the same. */
function difference(expected: readonly string[], found: readonly string[]): string {
  for (let i = 0; i < Math.max(expected.length, found.length); i++) {
    if (expected[i] !== found[i])
      return `row ${i} of ${expected.length} (${found.length} found) is ${found[i] ?? 'missing'} instead of ${expected[i] ?? 'none'}`;
  }
  return '';
}

interface Stream {
  capture: string;
  script: TcpScript;
  segments: Segment[];
  /** Rows of the conversation as it was. */
  rows: string[];
}

/** The TCP conversations that are recognised and in which no PDU has an impossible size: where one is cut decides where it is found again. */
export function streamsOf(registry: Registry, captures: readonly Capture[]): Stream[] {
  return captures.flatMap(({ name, packets }) =>
    tcpScripts(packets).flatMap((script) => {
      const segments = segmentsOf(script.turns);
      const result = runPackets(tcpPackets(script, segments), registry);
      if (result.lines.length === 0 || (result.counters['framing.resynchronisations'] ?? 0) > 0) return [];
      return [{ capture: name, script, segments, rows: rowsOf(result) }];
    }),
  );
}

const describeStream = ({ capture, script }: Stream): string => `${capture}, port ${script.ports[0]} to ${script.ports[1]}`;

/** The same streams in other segments: the same rows. */
export function checkSegmentation(registry: Registry, streams: readonly Stream[]): { faults: string[]; tried: number } {
  const faults: string[] = [];
  let tried = 0;
  for (const stream of streams) {
    const longest = Math.max(...stream.segments.map(({ bytes }) => bytes.length));
    const versions: [string, Segment[]][] = [
      ['segments of one direction merged', merged(stream.segments)],
      ['byte by byte', recut(stream.segments, (size) => Array.from({ length: size - 1 }, (_, i) => i + 1))],
      [
        'three bytes each',
        recut(stream.segments, (size) => Array.from({ length: Math.ceil(size / 3) - 1 }, (_, i) => (i + 1) * 3)),
      ],
    ];
    for (const at of lengths(longest)) {
      if (at > 0) versions.push([`segments cut at byte ${at}`, recut(stream.segments, (size) => (at < size ? [at] : []))]);
    }
    for (const [how, segments] of versions) {
      tried++;
      const result = runPackets(tcpPackets(stream.script, segments), registry);
      const differs = difference(stream.rows, rowsOf(result));
      if (differs !== '') faults.push(`${describeStream(stream)}, ${how}: ${differs}`);
      faults.push(...result.failures);
    }
  }
  return { faults: all(faults), tried };
}

/** Segments that come twice, late, early or overlapping: the same rows. */
export function checkOrder(registry: Registry, streams: readonly Stream[]): { faults: string[]; tried: number } {
  const faults: string[] = [];
  let tried = 0;
  for (const stream of streams) {
    const { segments } = stream;
    const thirds = recut(segments, (size) => [Math.floor(size / 3), Math.floor((2 * size) / 3)].filter((at) => at > 0));
    // A late copy comes when the conversation has gone on by a few segments, with the acknowledgment of its own time.
    const late = segments.flatMap((segment, i) =>
      i >= 4 ? [segment, { ...segments[i - 4], time_ns: segment.time_ns }] : [segment],
    );
    const versions: [string, Segment[]][] = [
      ['every segment twice', segments.flatMap((segment) => [segment, segment])],
      ['every segment again four segments later', late],
      ['pieces in the order 1 3 2', permuted(segments, thirds, [0, 2, 1])],
      ['pieces in the order 2 1 3', permuted(segments, thirds, [1, 0, 2])],
      ['pieces in the order 3 2 1', permuted(segments, thirds, [2, 1, 0])],
      ['every segment with the end of the one before', overlapping(segments)],
    ];
    for (const [how, other] of versions) {
      tried++;
      const result = runPackets(tcpPackets(stream.script, other), registry);
      const differs = difference(stream.rows, rowsOf(result));
      if (differs !== '') faults.push(`${describeStream(stream)}, ${how}: ${differs}`);
      faults.push(...result.failures);
    }
  }
  return { faults: all(faults), tried };
}

/** The pieces of each segment in another order. */
function permuted(segments: readonly Segment[], pieces: readonly Segment[], order: readonly number[]): Segment[] {
  return segments.flatMap(({ direction, sequence, bytes }) => {
    const own = pieces.filter((p) => p.direction === direction && p.sequence >= sequence && p.sequence < sequence + bytes.length);
    return own.length === order.length ? order.map((i) => own[i]) : own;
  });
}

function overlapping(segments: readonly Segment[]): Segment[] {
  const last: (Segment | undefined)[] = [undefined, undefined];
  return segments.map((segment) => {
    const before = last[segment.direction];
    last[segment.direction] = segment;
    if (before === undefined) return segment;
    const again = before.bytes.subarray(-5);
    return { ...segment, sequence: segment.sequence - again.length, bytes: Uint8Array.from([...again, ...segment.bytes]) };
  });
}

/** One segment lost: PDUs that have no byte in it are found, at the latest from the next segment on that begins with a PDU. */
export function checkLoss(registry: Registry, streams: readonly Stream[]): { faults: string[]; tried: number } {
  const faults: string[] = [];
  let tried = 0;
  for (const stream of streams) {
    const { segments, script } = stream;
    const whole = placed(pdusOf(tcpPackets(script, segments), registry));
    const starts = new Set(segments.map(({ direction, sequence }) => `${direction} ${sequence}`));
    const step = Math.ceil(segments.length / 60);
    for (let lost = 0; lost < segments.length; lost += step) {
      tried++;
      const found = pdusOf(
        tcpPackets(
          script,
          segments.filter((_, i) => i !== lost),
        ),
        registry,
      );
      const { direction, sequence, bytes } = segments[lost];
      const end = sequence + bytes.length;
      const recovers = whole.find(
        (pdu) => pdu.direction === direction && pdu.start >= end && starts.has(`${direction} ${pdu.start}`),
      );
      const expected = whole.filter(
        (pdu) =>
          pdu.complete &&
          (pdu.direction !== direction || pdu.end <= sequence || (recovers !== undefined && pdu.start >= recovers.start)),
      );
      for (const d of [0, 1]) {
        const there = found.filter((pdu) => pdu.direction === d && pdu.complete).map(text);
        let from = 0;
        for (const pdu of expected) {
          if (pdu.direction !== d) continue;
          const at = there.indexOf(text(pdu), from);
          if (at < 0) {
            faults.push(
              `${describeStream(stream)}, segment ${lost} lost: the PDU at byte ${pdu.start} of direction ${d} is not found`,
            );
            break;
          }
          from = at + 1;
        }
      }
    }
  }
  return { faults: all(faults), tried };
}

const text = ({ dissector, bytes }: CutPdu): string => `${dissector} ${Buffer.from(bytes).toString('hex')}`;

/** The PDUs with their places in their direction's stream, which they fill without a hole. */
function placed(pdus: readonly CutPdu[]): (CutPdu & { start: number; end: number })[] {
  const sent = [0, 0];
  return pdus.map((pdu) => {
    const start = sent[pdu.direction];
    sent[pdu.direction] += pdu.bytes.length;
    return { ...pdu, start, end: sent[pdu.direction] };
  });
}

// ── captures of others ──

/** A dissector with those it is within, and nobody else who could take its flows. */
export function alone(dissectors: readonly AnyDissector[], dissector: AnyDissector): AnyDissector[] {
  const wanted = new Set<AnyDissector>([dissector]);
  for (const one of wanted) {
    for (const carrier of one.carriers)
      if (carrier.layer === 'within') wanted.add(dissectors.find(({ name }) => name === carrier.parent)!);
  }
  return dissectors.filter((one) => wanted.has(one));
}
