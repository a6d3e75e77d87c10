import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BatchWriter, PacketRing } from '../capture/batch.ts';
import { readPackets } from '../engine/testing.ts';
import { Quarantine } from './quarantine.ts';

let data: string;
let ring: PacketRing;

beforeEach(() => {
  data = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-quarantine-'));
  ring = new PacketRing();
  const writer = new BatchWriter(ring);
  // Six packets of 20 bytes, of which the odd ones are a flow.
  for (let frame = 1; frame <= 6; frame++) {
    writer.buffer.fill(frame, frame * 20, frame * 20 + 20);
    writer.add(frame * 20, 20, 60, 1_700_000_000, frame * 1000, 0, 1);
    ring.link(frame, frame > 2 ? frame - 2 : 0);
  }
  writer.next(140);
});
afterEach(() => fs.rmSync(data, { recursive: true, force: true }));

const files = (): string[] => fs.readdirSync(path.join(data, 'quarantine')).sort();
const failure = (dissector: string, frame: number) => ({ dissector, frame, how: 'threw' as const, error: 'Error: x', lost: 0 });

it('keeps the packet and those before it in its flow, for nobody else to read', async () => {
  const quarantine = new Quarantine(data);
  quarantine.keep(failure('modbus', 5), ring, 6);
  expect(files()).toEqual(['20231114T221320Z-modbus-threw-frame-5.pcap']);
  const file = path.join(data, 'quarantine', files()[0]);
  const packets = await readPackets(file);
  expect(packets.map(({ bytes, wire, time_ns }) => [bytes[0], bytes.length, wire, time_ns % 1_000_000n])).toEqual([
    [1, 20, 60, 1000n],
    [3, 20, 60, 3000n],
    [5, 20, 60, 5000n],
  ]);
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(fs.statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
});

it('keeps the packet alone where no dissector was at work, since it may not be linked yet', async () => {
  new Quarantine(data).keep(failure('', 5), ring, 6);
  expect(await readPackets(path.join(data, 'quarantine', files()[0]))).toHaveLength(1);
});

it('has bounds, and counts what it refuses', () => {
  const quarantine = new Quarantine(data);
  for (let i = 0; i < 50; i++) quarantine.keep(failure('modbus', 1 + (i % 6)), ring, 6);
  for (let i = 0; i < 400; i++) quarantine.keep(failure(`p${i}`, 1), ring, 6);
  expect(files().length).toBeLessThanOrEqual(200);
  expect(quarantine.counters.files + quarantine.counters.refused).toBe(450);
  // The bound holds for the folder, whichever run filled it.
  const again = new Quarantine(data);
  again.keep(failure('another', 1), ring, 6);
  expect(again.counters).toMatchObject({ files: 0, refused: 1 });
});

it('does not throw where it cannot write', () => {
  fs.writeFileSync(path.join(data, 'quarantine'), 'in the way');
  const quarantine = new Quarantine(data);
  quarantine.keep(failure('modbus', 5), ring, 6);
  expect(quarantine.counters).toMatchObject({ files: 0, failed: 1 });
});

it('does not write what the ring has forgotten', () => {
  const quarantine = new Quarantine(data);
  quarantine.keep(failure('modbus', 7), ring, 6);
  expect(quarantine.counters).toMatchObject({ files: 0, refused: 1 });
});
