import { OperatingError } from '../errors.ts';
import type { WrittenPacket } from '../recording/packet-writer.ts';
import type { Coverage, Ends, RecordedPacket, RecordingReader } from '../recording/reader.ts';
import type { StoredAlert, StoredEvidence } from '../store/queries.ts';
import { timeText } from './data.ts';
import { writePackets } from './packets.ts';
import { ipEnd, macEnd, readable } from './recording-ends.ts';

interface Period {
  from_ms: number;
  to_ms: number;
}

/**
 * Writes what was kept with the alert and what the recording has of the two addresses around its first and its last time, in the
 * order of time, each packet once. Gives how many they are, and in words what they are and what could not be had.
 */
export function evidenceAround(
  out: string,
  alert: StoredAlert,
  kept: readonly StoredEvidence[],
  directory: string,
  seconds: number,
): { packets: number; lines: string[] } {
  const periods = periodsOf(alert, kept, seconds);
  const ends = endsOf(alert);
  const { packets, recorded, coverages } = readable(directory, (reader) => {
    const coverages = periods.map((period) => reader.coverage({ ...period, ends }));
    if (kept.length === 0 && coverages.every(({ first_ms }) => first_ms === null)) {
      const why = `nothing was kept with it, and there is no recording of its time in ${directory}`;
      throw new OperatingError('not_found', `there are no packets of alert ${alert.id}: ${why}`);
    }
    const merge = new Merge(kept);
    const written = writePackets(out, merge.run(packetsOf(reader, periods, ends)));
    return { packets: written, recorded: merge.recorded, coverages };
  });
  const between = [alert.source_ip || alert.source_mac, alert.destination_ip || alert.destination_mac]
    .filter(Boolean)
    .join(' and ');
  const lines = periods.flatMap((period, i) => missing(period, coverages[i], directory));
  return {
    packets,
    lines: [
      `${recorded} from the recording, with all between ${between}; ${packets - recorded} kept with the alert alone`,
      ...lines,
    ],
  };
}

/** Around the first time, with what was kept, and around the last; one period where they touch. */
function periodsOf({ first_ms, last_ms }: StoredAlert, kept: readonly StoredEvidence[], seconds: number): Period[] {
  const times = [first_ms, ...kept.map((packet) => packet.seconds * 1000 + packet.nanoseconds / 1e6)];
  const first = { from_ms: Math.min(...times) - seconds * 1000, to_ms: Math.max(...times) + seconds * 1000 };
  const last = { from_ms: last_ms - seconds * 1000, to_ms: last_ms + seconds * 1000 };
  if (last.from_ms > first.to_ms) return [first, last];
  return [{ from_ms: first.from_ms, to_ms: Math.max(first.to_ms, last.to_ms) }];
}

function endsOf({ source_ip, destination_ip, source_mac, destination_mac }: StoredAlert): Ends[] {
  const ends: Ends[] = [];
  const ips = [source_ip, destination_ip].filter((ip) => ip !== '').map(ipEnd);
  const macs = [source_mac, destination_mac].filter((mac) => mac !== '').map((mac) => macEnd(mac, true));
  if (ips.length > 0) ends.push({ a: ips[0], b: ips[1] ?? null });
  // Of one that is known by its IP address alone, the MAC address may be a router's.
  if (macs.length === 2 || (macs.length === 1 && ips.length < 2)) ends.push({ a: macs[0], b: macs[1] ?? null });
  return ends;
}

function* packetsOf(reader: RecordingReader, periods: readonly Period[], ends: readonly Ends[]): Generator<RecordedPacket> {
  for (const period of periods) yield* reader.packets({ ...period, ends });
}

/** What was kept and what was recorded, in the order of time; a packet that is in both, or in two recordings of one capture, once. */
class Merge {
  recorded = 0;
  private readonly kept: StoredEvidence[];
  /** Written ones of the time at hand. */
  private now: RecordedPacket[] = [];

  constructor(kept: readonly StoredEvidence[]) {
    this.kept = [...kept].sort(compare);
  }

  *run(recorded: Iterable<RecordedPacket>): Generator<WrittenPacket> {
    for (const packet of recorded) {
      while (this.kept.length > 0 && compare(this.kept[0], packet) < 0) yield written(this.kept.shift()!);
      if (this.now.length > 0 && compare(this.now[0], packet) !== 0) this.now = [];
      if (this.now.some((one) => one.capture_id !== packet.capture_id && one.bytes.equals(packet.bytes))) continue;
      const same = this.kept.findIndex(
        (one) => compare(one, packet) === 0 && one.link_type === packet.interface_.link_type && packet.bytes.equals(one.bytes),
      );
      if (same >= 0) this.kept.splice(same, 1);
      this.now.push(packet);
      this.recorded++;
      yield packet;
    }
    for (const packet of this.kept) yield written(packet);
  }
}

const compare = (a: { seconds: number; nanoseconds: number }, b: { seconds: number; nanoseconds: number }): number =>
  a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;

/** The interface was not kept. */
const written = ({ seconds, nanoseconds, wire, link_type, bytes }: StoredEvidence): WrittenPacket => ({
  seconds,
  nanoseconds,
  wire,
  interface_: { number: 0, link_type, name: '' },
  bytes,
});

function missing(
  { from_ms, to_ms }: Period,
  { first_ms, last_ms, missed, gaps, ot_only }: Coverage,
  directory: string,
): string[] {
  const period = `${timeText(from_ms)} to ${timeText(to_ms)}`;
  if (first_ms === null || last_ms === null) return [`Could not be had: there is no recording of ${period} in ${directory}`];
  const lines: string[] = [];
  if (first_ms > from_ms) lines.push(`Could not be had: the recording of ${period} begins at ${timeText(first_ms)}`);
  if (last_ms < to_ms) lines.push(`Could not be had: the recording of ${period} ends at ${timeText(last_ms)}`);
  for (const gap of gaps)
    lines.push(`Could not be had: nothing was recorded from ${timeText(gap.from_ms)} to ${timeText(gap.to_ms)}`);
  if (missed > 0) lines.push(`Could not be had: ${missed} packets of any host from ${period}, which were not recorded`);
  if (ot_only) lines.push(`Only OT conversations were recorded of ${period}`);
  return lines;
}
