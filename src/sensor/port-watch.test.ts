import { afterEach, beforeEach, expect, it } from 'vitest';
import { BatchWriter, PacketRing } from '../capture/batch.ts';
import type { InterfaceReport } from '../capture/capture-thread.ts';
import { measurePorts } from '../capture/port-measure.ts';
import { verdictsOf } from '../capture/port-verdict.ts';
import { SequenceSource } from '../capture/replay.ts';
import { fixture, remove, temporaryFolder } from '../cli/testing.ts';
import { Health } from '../health/health.ts';
import { type JudgedPort, keepPorts, PortWatch, readPorts } from './port-watch.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => remove(folder));

const NAMES = { onPort: () => null, onEthertype: () => null, onIp: String };
const report = (more: Partial<InterfaceReport> = {}): InterfaceReport => ({
  name: 'eth1',
  state: 'capturing',
  message: '',
  link_type: 1,
  nanoseconds: false,
  filter: '',
  opened: 1,
  code: '',
  received: 0,
  handed_over: 0,
  handed_over_bytes: 0,
  dropped_by_kernel: 0,
  dropped_by_interface: 0,
  dropped_by_us: { overload: 0, closed: 0 },
  ...(more as object),
});

/** A sensor whose interface receives a capture file in the middle of a measurement. */
async function measured(file: string, after: Partial<InterfaceReport> = {}, busy = false): Promise<JudgedPort[]> {
  const ring = new PacketRing();
  const kept: JudgedPort[][] = [];
  let now = report({ dropped_by_kernel: 7 });
  const watch = new PortWatch({
    ring,
    ports: () => [{ name: 'eth1', mac: null, mtu: null, link: true, filtered: false }],
    statistics: () => [now],
    counts_drops: true,
    keep: (ports) => kept.push(ports),
  });
  watch.look(1_000_000, false);
  const source = await SequenceSource.open([file]);
  const batch = new BatchWriter(ring);
  for (;;) {
    const filled = source.fill(batch);
    const used = typeof filled === 'object' && filled !== null ? await filled : filled;
    if (used === null) break;
    watch.take(batch.next(used));
  }
  now = report({ dropped_by_kernel: 7, ...after });
  watch.look(1_002_000, busy);
  expect(kept).toEqual([]);
  watch.look(1_005_000, false);
  return kept[0] ?? [];
}

it('judges a port in the words of the command, and keeps them for the API', async () => {
  const file = fixture('plant.pcap');
  const { traffic } = await measurePorts(await SequenceSource.open([file]), () => ({ mac: null, mtu: null }), NAMES);
  const ports = await measured(file);
  expect(ports).toEqual([
    {
      name: 'eth1',
      measured_ms: 1_005_000,
      seconds: 5,
      link: true,
      packets_per_second: Math.round(traffic[0].packets / 5),
      bytes_per_second: Math.round(traffic[0].bytes / 5),
      verdicts: verdictsOf(traffic[0], null),
    },
  ]);
  keepPorts(folder, ports);
  expect(readPorts(folder)).toEqual(ports);
  keepPorts(folder, [{ ...ports[0], verdicts: 'none' } as unknown as JudgedPort]);
  expect(readPorts(folder)).toEqual([]);
});

it('tells what was lost while it was looked at, not what once was', async () => {
  const file = fixture('plant.pcap');
  const codes = async (after: Partial<InterfaceReport>) => (await measured(file, after))[0].verdicts.map(({ code }) => code);
  const before = await codes({});
  expect(before).not.toContain('drops');
  expect(await codes({ dropped_by_kernel: 9 })).toContain('drops');
});

it('has no time for it where the sensor does not keep up', async () => {
  expect(await measured(fixture('plant.pcap'), {}, true)).toEqual([]);
});

it('is part of what the health tells of an interface', () => {
  keepPorts(folder, [
    {
      name: 'eth1',
      measured_ms: 5,
      seconds: 5,
      link: false,
      packets_per_second: 0,
      bytes_per_second: 0,
      verdicts: verdictsOf({ packets: 0 } as never, { ...report(), dropped_by_kernel: 0, filtered: false, link: false }),
    },
  ]);
  const capture = { id: 1, finished: false, counters: { 'capture.eth1.received': 0, 'capture.eth2.received': 3 } };
  const reader = { captures: () => [capture], quickTotals: () => ({}), openAlerts: () => ({}) };
  const health = new Health({
    version: '1.2.3',
    directory: folder,
    store: { reader } as never,
    notifications: { list: () => [] } as never,
  });
  expect(health.report().sensor.interfaces).toEqual([
    expect.objectContaining({
      name: 'eth1',
      link: false,
      verdicts: [{ code: 'no_link', text: expect.stringMatching(/no link; check the cable/) }],
    }),
    expect.objectContaining({ name: 'eth2', measured_ms: null, verdicts: [] }),
  ]);
});
