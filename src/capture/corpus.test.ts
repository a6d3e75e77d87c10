import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { openCaptureFile } from './file-source.ts';
import { type ReadCapture, readThrough } from './testing.ts';

const FOLDER = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(import.meta.dirname, '../../../shared/pcaps'));
const present = fs.existsSync(path.join(FOLDER, 'MANIFEST.tsv'));
const run = promisify(execFile);
const tshark = await run('tshark', ['--version']).then(
  () => true,
  () => false,
);
if (!present) console.warn(`SKIPPED: the captures of MANIFEST.tsv are not in ${FOLDER} (OT_SENSOR_PCAPS)`);
if (!tshark) console.warn('SKIPPED: reading is not compared with tshark, which is not installed');

async function read(file: string): Promise<ReadCapture> {
  try {
    return await readThrough(await openCaptureFile(path.join(FOLDER, file)));
  } catch (error) {
    return { packets: [], batches: 0, warnings: [], error };
  }
}

/** Where the manifest's count of packets is not ours, and why. */
const OTHER_COUNTS: Readonly<Record<string, [packets: number, reason: RegExp]>> = {
  'general/PF_RING__pcapng-invalid-vers-1.pcapng': [0, /pcapng of version 0\.1/],
  'general/PF_RING__shb-option-too-long.pcapng': [0, /claims 52 bytes at its start/],
  'general/PcapPlusPlus__microsecs_big_endian.pcap': [0, /NETLINK \(253\)/],
  'general/PcapRaven__corrupt_packet.pcap': [0, /cut short in a packet of 100 bytes: 90 are missing/],
  'general/ct-samples__MirroredBits.pcap': [0, /RTAC_SERIAL \(250\)/],
  // Version 2.0, in which the wire length comes first: one packet, as tshark has it too.
  'general/nDPI__fuzz-2021-10-13.pcap': [1, /cut short in a record header/],
};

describe.skipIf(!present)('the shared captures', () => {
  const rows = present ? fs.readFileSync(path.join(FOLDER, 'MANIFEST.tsv'), 'utf8').trim().split('\n').slice(1) : [];

  test('have as many packets as the manifest says, and no warnings', async () => {
    expect(rows.length).toBeGreaterThan(300);
    for (const row of rows) {
      const [file, , , packets] = row.split('\t');
      const { packets: mine, warnings, error } = await read(file);
      const said = error === null ? warnings.map(({ message }) => message).join('; ') : String(error);
      const [count, reason] = OTHER_COUNTS[file] ?? [Number(packets), /^$/];
      expect(mine.length, file).toBe(count);
      expect(said, file).toMatch(reason);
    }
  }, 60_000);

  test.skipIf(!tshark)(
    'in general/: times and lengths are those of tshark',
    async () => {
      const files = fs.readdirSync(path.join(FOLDER, 'general')).map((file) => `general/${file}`);
      const mine = new Map<string, ReadCapture>();
      for (const file of files) mine.set(file, await read(file));
      let compared = 0;
      const next = async (): Promise<void> => {
        for (let file = files.pop(); file !== undefined; file = files.pop()) {
          const { packets, error } = mine.get(file)!;
          if (error !== null) {
            expect(OTHER_COUNTS[file], file).toBeDefined();
            continue;
          }
          expect(
            packets.map(({ seconds, nanoseconds, data, wire }) => [
              BigInt(seconds) * 10n ** 9n + BigInt(nanoseconds),
              data.length / 2,
              wire,
            ]),
            file,
          ).toEqual(await byTshark(file));
          compared += packets.length;
        }
      };
      await Promise.all([next(), next()]);
      expect(compared).toBeGreaterThan(400);
    },
    120_000,
  );
});

/** Time in nanoseconds, captured and wire length of each packet as tshark has them. */
async function byTshark(file: string): Promise<[bigint, number, number][]> {
  const names = ['frame.time_epoch', 'frame.cap_len', 'frame.len', 'frame.interface_id'].flatMap((name) => ['-e', name]);
  // Its exit code is not 0 for a file that is cut short.
  const { stdout } = await run('tshark', ['-n', '-r', path.join(FOLDER, file), '-T', 'fields', ...names]).catch(
    (error: { stdout: string }) => error,
  );
  const packets: [bigint, number, number][] = [];
  let time = 0n;
  for (const line of stdout.split('\n')) {
    const [epoch, captured, wire, interface_] = line.split('\t');
    // Custom blocks are frames to tshark. They belong to no interface.
    if (captured === undefined || (file.endsWith('ng') && interface_ === '')) continue;
    // A simple packet block has no time; a fraction of more than a second, or above 2^31, is printed as it stands.
    const [seconds, nanoseconds] = epoch.replace('-', '').split('.');
    if (epoch !== '') time = BigInt(seconds) * 10n ** 9n + BigInt(nanoseconds);
    packets.push([time, Number(captured), Number(wire)]);
  }
  return packets;
}
