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
import type { Registry } from './registry.ts';

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
const CONTEXT_PDUS = 12;
/** Lengths that are tried of a long PDU: all of its start, then every few bytes. */
const ALL_CUTS_BELOW = 64;
/** A PDU that takes longer, twice, is taken for an endless loop. */
const MAX_MS_A_PDU = 1000;
/** Segments of a conversation that are sent again. */
const SEGMENTS_A_STREAM = 48;
const MAX_FAULTS = 40;

export interface Checked {
  /** How much was tried: a check that tried nothing shows nothing. */
  tried: number;
  faults: string[];
}

// ── PDU by PDU ──

/** A PDU to damage, and what was said before it. */
interface Specimen {
  capture: string;
  pdu: CutPdu;
  context: CutPdu[];
}

interface Played {
  rows: string[];
  /** Every row's status is ok. */
  ok: boolean;
  /** Names of the dissectors whose rows they are. */
  dissectors: Set<string>;
  failed: string;
  /** Fields and operation of the first rows, without values: what kind of PDU it is. */
  kind: string;
  duration_ms: number;
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

  /** Plays `bytes` in place of the specimen's PDU. */
  play(specimen: Specimen, bytes: Uint8Array, complete: boolean): Played {
    const { pdu, context } = specimen;
    const conversation = this.begin(pdu);
    for (const earlier of context) this.run(conversation, earlier, earlier.bytes, earlier.complete);
    const started = performance.now();
    this.run(conversation, pdu, bytes, complete);
    const duration_ms = performance.now() - started;
    return { ...this.result(), duration_ms };
  }

  /** The kinds of PDUs of a capture, each with its first specimen. */
  kinds(capture: Capture): Map<string, Specimen> {
    const conversations = new Map<unknown, { conversation: Conversation; earlier: CutPdu[] }>();
    const kinds = new Map<string, Specimen>();
    for (const pdu of pdusOf(capture.packets, this.registry)) {
      const { conversation, earlier } = conversations.get(pdu.state) ?? { conversation: this.begin(pdu), earlier: [] };
      conversations.set(pdu.state, { conversation, earlier });
      this.run(conversation, pdu, pdu.bytes, pdu.complete);
      const { kind, ok } = this.result();
      if (pdu.complete && ok && !kinds.has(kind))
        kinds.set(kind, { capture: capture.name, pdu, context: earlier.slice(-CONTEXT_PDUS) });
      earlier.push(pdu);
    }
    return kinds;
  }

  private begin(pdu: CutPdu): Conversation {
    const conversation = new Conversation();
    const { state: like } = pdu;
    conversation.is_stream = like.is_stream;
    conversation.from_start = like.from_start;
    conversation.client_direction = like.client_direction;
    return conversation;
  }

  private run(conversation: Conversation, pdu: CutPdu, bytes: Uint8Array, complete: boolean): void {
    conversation.direction = pdu.direction;
    conversation.frame = pdu.frame;
    conversation.time_ms = pdu.time_ms;
    conversation.source_port = pdu.state.port(pdu.direction);
    conversation.destination_port = pdu.state.port((1 - pdu.direction) as 0 | 1);
    this.dissection.run(pdu.dissector, new Reader(bytes), conversation, complete);
  }

  private result(): Omit<Played, 'duration_ms'> {
    const { dissection, out, registry } = this;
    const { failed } = dissection;
    const found = dissection.rows.slice(0, dissection.count);
    const rows = found.map((row) => {
      out.position = 0;
      row.writeFields(out);
      const fields = Buffer.from(out.bytes.subarray(0, out.position)).toString();
      return `${row.type.name} ${OPERATION_NAMES[row.operation]} ${fields}`;
    });
    return {
      rows,
      ok: found.every(({ status }) => STATUS_NAMES[status] === 'ok'),
      dissectors: new Set(found.map(({ dissector }) => registry.dissectors[dissector].name)),
      failed: failed === null ? '' : `${failed.dissector}: ${failed.error instanceof Error ? failed.error.stack : failed.error}`,
      kind: found
        .slice(0, 4)
        .map(({ type, operation, p0, p1, p2 }) => `${type.name} ${operation} ${p0} ${p1} ${p2}`)
        .join(),
    };
  }
}

/** The specimens of all captures, one of each kind. */
function specimens(player: Player, captures: readonly Capture[]): Specimen[] {
  const all = new Map<string, Specimen>();
  for (const capture of captures)
    for (const [kind, specimen] of player.kinds(capture)) if (!all.has(kind)) all.set(kind, specimen);
  return [...all.values()];
}

function* lengths(size: number): Generator<number> {
  for (let length = 0; length < size; length += length < ALL_CUTS_BELOW ? 1 : 7) yield length;
}

/** What must hold whatever the bytes are. */
function alwaysWrong(played: Played, again: () => Played, bytes: number): string {
  if (played.failed !== '') return `threw ${played.failed}`;
  if (played.duration_ms > MAX_MS_A_PDU && again().duration_ms > MAX_MS_A_PDU) return `took ${Math.round(played.duration_ms)} ms`;
  // A bit is the smallest thing that any protocol makes a row of.
  if (played.rows.length > 16 + 8 * bytes) return `${played.rows.length} rows of ${bytes} bytes`;
  return '';
}

/**
 * Each PDU cut at every length, as the capture's snap length cuts it (truncated) and as its sender might (malformed): nothing is
 * thrown, and rows that differ from those of the whole PDU say that something is missing.
 */
export function checkCuts(registry: Registry, captures: readonly Capture[]): Checked & { dissectors: Set<string> } {
  const player = new Player(registry);
  const faults: string[] = [];
  const dissectors = new Set<string>();
  let tried = 0;
  for (const specimen of specimens(player, captures)) {
    const { bytes } = specimen.pdu;
    const whole = player.play(specimen, bytes, true);
    for (const name of whole.dissectors) dissectors.add(name);
    const joined = joinedBytes(specimen);
    let fault = '';
    for (const length of lengths(bytes.length)) {
      const part = bytes.slice(0, length);
      for (const complete of [false, true]) {
        tried++;
        const cut = player.play(specimen, part, complete);
        let wrong = alwaysWrong(cut, () => player.play(specimen, part, complete), joined);
        if (wrong === '' && !complete && cut.rows.length > 0 && cut.ok && cut.rows.join() !== whole.rows.join())
          wrong = `says ok, and not what the whole PDU says: ${cut.rows.join(' / ').slice(0, 300)}`;
        if (wrong !== '')
          fault ||= `${where(player.registry, specimen)}, ${length} of ${bytes.length} bytes${complete ? '' : ' captured'}: ${wrong}`;
      }
    }
    if (fault !== '') faults.push(fault);
  }
  return { tried, faults: faults.slice(0, MAX_FAULTS), dissectors };
}

/** Bytes of each PDU changed: nothing is thrown, an end is found, and no count on the wire makes rows out of nothing. */
export function checkChangedBytes(registry: Registry, captures: readonly Capture[]): Checked {
  const player = new Player(registry);
  const faults: string[] = [];
  let tried = 0;
  for (const specimen of specimens(player, captures)) {
    const { bytes } = specimen.pdu;
    const random = pseudoRandom(bytes.length);
    const joined = joinedBytes(specimen);
    for (const place of lengths(bytes.length)) {
      const old = bytes[place];
      for (const value of new Set([0, 0xff, old ^ 1, old ^ 0x80, random() & 0xff])) {
        if (value === old) continue;
        tried++;
        const changed = bytes.slice();
        changed[place] = value;
        const wrong = alwaysWrong(player.play(specimen, changed, true), () => player.play(specimen, changed, true), joined);
        if (wrong !== '') faults.push(`${where(player.registry, specimen)}, byte ${place} = ${value}: ${wrong}`);
      }
    }
  }
  return { tried, faults: faults.slice(0, MAX_FAULTS) };
}

const joinedBytes = ({ pdu, context }: Specimen): number =>
  context.reduce((sum, { bytes }) => sum + bytes.length, pdu.bytes.length);

/** Where it is, as a fault begins. */
const where = (registry: Registry, { capture, pdu }: Specimen): string =>
  `${capture} frame ${pdu.frame}, ${registry.dissectors[pdu.dissector].name}`;

// ── segment by segment ──

/** A line without what depends on how the stream was cut into packets. */
function comparable(line: string): string {
  const { frame: _, timestamp: __, pdu_index: ___, fields, ...rest } = JSON.parse(line);
  for (const name of Object.keys(fields)) if (/_frame$|^response_time_ms$/.test(name)) delete fields[name];
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

/**
 * The TCP conversations that consist of PDUs from their first byte to their last. Where there is something else between PDUs, it
 * depends on the segments where the next one is found.
 */
export function streamsOf(registry: Registry, captures: readonly Capture[]): Stream[] {
  return captures.flatMap(({ name, packets }) =>
    tcpScripts(packets).flatMap((script) => {
      const segments = segmentsOf(script.turns.slice(0, SEGMENTS_A_STREAM));
      const sent = tcpPackets(script, segments);
      const inPdus = pdusOf(sent, registry).reduce((sum, { bytes }) => sum + bytes.length, 0);
      if (inPdus !== segments.reduce((sum, { bytes }) => sum + bytes.length, 0)) return [];
      return [{ capture: name, script, segments, rows: rowsOf(runPackets(sent, registry)) }];
    }),
  );
}

const describeStream = ({ capture, script }: Stream): string => `${capture}, port ${script.ports[0]} to ${script.ports[1]}`;

/** The same streams in other segments: the same rows. */
export function checkSegmentation(registry: Registry, streams: readonly Stream[]): Checked {
  const faults: string[] = [];
  let tried = 0;
  for (const stream of streams) {
    const longest = Math.max(...stream.segments.map(({ bytes }) => bytes.length));
    const versions: [string, Segment[]][] = [
      ['segments of one direction merged', merged(stream.segments, 4)],
      ['byte by byte', recut(stream.segments, (size) => Array.from({ length: size - 1 }, (_, i) => i + 1))],
      [
        'three bytes each',
        recut(stream.segments, (size) => Array.from({ length: Math.ceil(size / 3) - 1 }, (_, i) => (i + 1) * 3)),
      ],
    ];
    // Headers byte by byte; of what is long, and of conversations with many rows, fewer places.
    const step = Math.max(1, Math.ceil(stream.rows.length / 40));
    for (let at = 1; at < longest; at += at < 24 ? step : 7 * step) {
      versions.push([`segments cut at byte ${at}`, recut(stream.segments, (size) => (at < size ? [at] : []))]);
    }
    for (const [how, segments] of versions) {
      tried++;
      const result = runPackets(tcpPackets(stream.script, segments), registry);
      const differs = difference(stream.rows, rowsOf(result));
      if (differs !== '') faults.push(`${describeStream(stream)}, ${how}: ${differs}`);
      faults.push(...result.failures);
    }
  }
  return { tried, faults: faults.slice(0, MAX_FAULTS) };
}

/** Segments that come twice, late, early or overlapping: the same rows. */
export function checkOrder(registry: Registry, streams: readonly Stream[]): Checked {
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
  return { tried, faults: faults.slice(0, MAX_FAULTS) };
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

/** One segment lost: PDUs that have no byte in it are found, at the latest from the next segment on that begins with a whole one. */
export function checkLoss(registry: Registry, streams: readonly Stream[]): Checked {
  const faults: string[] = [];
  let tried = 0;
  for (const stream of streams) {
    const { segments, script } = stream;
    const whole = placed(pdusOf(tcpPackets(script, segments), registry));
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
      const recovers = whole.find((pdu) => pdu.direction === direction && pdu.start >= end && begins(segments, pdu));
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
  return { tried, faults: faults.slice(0, MAX_FAULTS) };
}

const begins = (segments: readonly Segment[], pdu: { direction: 0 | 1; start: number; end: number }): boolean =>
  segments.some((s) => s.direction === pdu.direction && s.sequence === pdu.start && s.sequence + s.bytes.length >= pdu.end);

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
