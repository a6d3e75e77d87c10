import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { BatchWriter, CAPTURED, INTERFACE, OFFSET, PacketRing, WIRE } from '../src/capture/batch.ts';
import { PcapWriter } from '../src/capture/pcap-writer.ts';
import { SequenceSource } from '../src/capture/replay.ts';

/** Where the shared captures of many protocols are, of which MANIFEST.tsv has a line each. */
const FOLDER = path.resolve(process.env.OT_SENSOR_PCAPS ?? fileURLToPath(new URL('../../../shared/pcaps', import.meta.url)));
const ETHERNET = 1;

interface Frame {
  seconds: number;
  nanoseconds: number;
  wire: number;
  bytes: Buffer;
}

/** Writes the captures of the corpus that hold Ethernet frames to one in `folder`, merged by time; null where there is no corpus. */
export async function mergeCorpus(folder: string): Promise<{ file: string; packets: number; captures: number } | null> {
  const manifest = path.join(FOLDER, 'MANIFEST.tsv');
  if (!fs.existsSync(manifest)) return null;
  const rows = fs.readFileSync(manifest, 'utf8').trim().split('\n').slice(1);
  const files = rows.map((row) => row.split('\t')).filter(([, , , , link_type]) => link_type === 'EN10MB');
  const records: Frame[] = [];
  for (const [name] of files) records.push(...(await read(path.join(FOLDER, name))));
  records.sort((a, b) => a.seconds - b.seconds || a.nanoseconds - b.nanoseconds);
  const file = path.join(folder, 'corpus.pcap');
  const writer = new PcapWriter(file, [ETHERNET]);
  for (const { bytes, wire, seconds, nanoseconds } of records)
    writer.write(bytes, 0, bytes.length, wire, seconds, nanoseconds, ETHERNET);
  writer.close();
  return { file, packets: records.length, captures: files.length };
}

/** What can be read of a capture; of those that are damaged, what comes before the fault. */
async function read(file: string): Promise<Frame[]> {
  const records: Frame[] = [];
  const ring = new PacketRing();
  const writer = new BatchWriter(ring);
  try {
    const source = await SequenceSource.open([file]);
    for (;;) {
      const used = await source.fill(writer);
      if (used === null) break;
      const { first_frame, count } = writer.next(used);
      for (let frame = first_frame; frame < first_frame + count; frame++) {
        const entry = ring.entry(frame);
        const { index } = ring;
        if ((index[entry + INTERFACE] & 0xffff) !== ETHERNET) continue;
        const start = index[entry + OFFSET];
        records.push({
          seconds: ring.seconds(entry),
          nanoseconds: ring.nanoseconds(entry),
          wire: index[entry + WIRE],
          bytes: Buffer.from(ring.bytes.slice(start, start + index[entry + CAPTURED])),
        });
      }
    }
    source.close();
  } catch {
    // Some are damaged by intent.
  }
  return records;
}
