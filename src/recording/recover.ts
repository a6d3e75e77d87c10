import fs from 'node:fs';
import path from 'node:path';
import { BlockReader, readSummary, type ScannedFile, scan } from './block-reader.ts';
import { listFiles } from './disk.ts';
import { encodeIndex } from './format.ts';
import { packetTag } from './tag.ts';

/**
 * Mends files that were being written when the recorder was killed: what is not whole at their end is cut off, and they get their
 * index. A file without a packet is deleted. One that cannot be mended is left as it is: it can be read all the same.
 */
export function recover(directory: string): void {
  let reader: BlockReader | null = null;
  for (const { name, bytes } of listFiles(directory)) {
    const file = path.join(directory, name);
    let fd: number | null = null;
    try {
      fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW);
      if (readSummary(fd, bytes) !== null) continue;
      const scanned = scan(fd, bytes);
      if (bytes === 0 || scanned?.summary.packets === 0) fs.rmSync(file);
      else if (scanned !== null) {
        reader ??= new BlockReader();
        addIndex(fd, scanned, reader);
      }
    } catch {
      // As it says above.
    } finally {
      if (fd !== null) fs.closeSync(fd);
    }
  }
}

function addIndex(fd: number, { index, end }: ScannedFile, reader: BlockReader): void {
  for (const block of index.blocks) {
    const tags = new Set<number>();
    if (reader.read(fd, block, index.interfaces, () => tags.add(packetTag(reader.packet)))) block.tags = Uint32Array.from(tags);
  }
  fs.ftruncateSync(fd, end);
  const bytes = encodeIndex(index);
  fs.writeSync(fd, bytes, 0, bytes.length, end);
}
