import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { MirrorPorts, whyNoLiveCapture } from '../../native-bindings/pcap/testing.ts';
import { DIST, PLANT } from '../cli/testing.ts';
import { datagram, host } from '../engine/shard-bench.ts';
import { StoreReader } from '../store/queries.ts';

const skipped = whyNoLiveCapture() !== '';

/** The product's own, and one on UDP port 7001 that takes a tenth of a millisecond a packet. */
const DISSECTORS = `
const root = ${JSON.stringify(pathToFileURL(`${DIST}/`).href)};
const { dissectors: own } = await import(root + 'dissectors/index.js');
const { defineDissector, Match, record, u8, udp } = await import(root + 'src/dissect/index.js');
const Word = record('word', 'A word', { byte: u8(null, 'The byte') });
const slow = defineDissector({
  name: 'slow', specification: 'none', carriers: udp(7001), records: [Word], anomalies: {},
  probe: () => Match.possible, newState: () => null,
  dissect(r, emit) { emit(Word).byte = r.u8(); const end = performance.now() + 0.1; while (performance.now() < end); },
});
export const dissectors = [...own, slow];
`;

const PROGRAM = `
  const told = await hear();
  const { Service } = await import(root + 'src/sensor/service.js');
  const { readConfig } = await import(root + 'src/config.js');
  const { config } = readConfig(told.settings, told.folder);
  const service = await Service.start(config, async () => null, { dissectors: told.dissectors });
  say({ ready: true });
  await hear();
  service.stop();
  const { account } = await service.finished;
  say({ account });
  process.exit();
`;

test.skipIf(skipped)(
  'a sensor that cannot keep up says so, leaves work undone, recovers, and hears OT again',
  async () => {
    const ports = new MirrorPorts();
    try {
      const module_ = path.join(ports.directory, 'dissectors.mjs');
      fs.writeFileSync(module_, DISSECTORS);
      const settings = 'data: data\ncapture:\n  interfaces:\n    - name: m0\n      buffer_bytes: 1048576\n';
      const program = ports.start(PROGRAM);
      program.tell({ settings, folder: ports.directory, dissectors: pathToFileURL(module_).href });
      await program.next();
      const frames = Array.from({ length: 1000 }, (_, i) => datagram(host(1, i % 50), host(2, 1), new Uint8Array(200), 7001));
      await ports.send(ports.frames('slow.pcap', frames), { loops: 200, packets_per_second: 40_000 });
      await new Promise((resolve) => setTimeout(resolve, 16_000));
      await ports.send(PLANT, { packets_per_second: 3000 });
      program.tell({ stop: true });
      const { account } = await program.next<{ account: Record<string, number> }>();
      expect(account).toMatchObject({ received: 201_006, unaccounted: 0 });
      expect(account.headers_only).toBeGreaterThan(1000);

      const reader = new StoreReader(path.join(ports.directory, 'data'));
      const kinds = new Set(reader.alerts({ limit: 1000 }).rows.map(({ kind }) => kind));
      const events = reader.events({ limit: 1000 }).rows.map(({ kind }) => kind);
      reader.close();
      expect(kinds).toContain('overload');
      expect(kinds.size).toBeGreaterThan(2);
      expect(events).toEqual(expect.arrayContaining(['overload_began', 'overload_ended']));
    } finally {
      ports.close();
    }
  },
  60_000,
);
