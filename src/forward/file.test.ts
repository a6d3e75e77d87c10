import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Appliance, linesOf, until } from './testing.ts';

let appliance: Appliance;
let folder: string;
beforeEach(() => {
  appliance = new Appliance();
  folder = path.join(appliance.folder, 'forward');
});
afterEach(() => appliance.close());

const file = (more: object = {}) => ({ name: 'file', type: 'file', ...more });
const numbers = (lines: string[]) =>
  lines.map((line) => Number(/finding (\d+)/.exec((JSON.parse(line) as { message: string }).message)?.[1]));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe('a file', () => {
  it('holds a line of JSON an alert', async () => {
    appliance.set([file()]);
    const forwarder = await appliance.forward();
    appliance.raise(1500);
    await until(() => forwarder.status()[0].sent === 1500, 'all are written');
    expect(numbers(linesOf(path.join(folder, 'forwarded.jsonl')))).toEqual(upTo(1500));
  });

  it('gives way to a new one when it is large, and the oldest go', async () => {
    appliance.set([file({ max_bytes: 65_536, max_files: 3 })]);
    const forwarder = await appliance.forward();
    for (let round = 1; round <= 6; round++) {
      appliance.raise(100);
      await until(() => forwarder.status()[0].sent === 100 * round, 'a round');
    }
    expect(fs.readdirSync(folder).sort()).toEqual(['forwarded.jsonl', 'forwarded.jsonl.1', 'forwarded.jsonl.2']);
    const all = ['.2', '.1', ''].flatMap((end) => numbers(linesOf(path.join(folder, `forwarded.jsonl${end}`))));
    expect(all.at(-1)).toBe(600);
    expect(all).toEqual(upTo(600).slice(-all.length));
  });

  it('with a torn last line goes on behind what is whole, and writes nothing twice that the power failed to acknowledge', async () => {
    appliance.set([file()]);
    let forwarder = await appliance.forward();
    appliance.raise(10);
    await until(() => forwarder.status()[0].sent === 10, 'ten are written');
    await forwarder.stop();
    // Lines 9 and 10 had reached the disk when the power went, half of 11 too; that they had was not stored.
    appliance.database.db.prepare("UPDATE forward_cursors SET position = 8, sent = 8 WHERE source = 'alerts'").run();
    fs.appendFileSync(path.join(folder, 'forwarded.jsonl'), '{"uuid":"00000000-0000-5000');
    appliance.raise(2);
    forwarder = await appliance.forward();
    await until(() => forwarder.status()[0].sent === 12, 'the rest is written');
    expect(numbers(linesOf(path.join(folder, 'forwarded.jsonl')))).toEqual(upTo(12));
  });

  it('that cannot be written is tried again', async () => {
    fs.writeFileSync(folder, 'in the way');
    appliance.set([file()]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    await until(() => forwarder.status()[0].state === 'failing', 'it fails');
    expect(forwarder.status()[0].last_error).toMatch(/forwarded\.jsonl: /);
    fs.rmSync(folder);
    await until(() => forwarder.status()[0].sent === 2, 'it is written');
    expect(numbers(linesOf(path.join(folder, 'forwarded.jsonl')))).toEqual([1, 2]);
  });

  it('on a full disk waits until there is room', async () => {
    fs.mkdirSync(folder);
    const name = path.join(folder, 'forwarded.jsonl');
    fs.symlinkSync('/dev/full', name);
    appliance.set([file()]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    await until(() => forwarder.status()[0].state === 'failing', 'it fails');
    expect(forwarder.status()[0].last_error).toMatch(/ENOSPC/);
    fs.rmSync(name);
    await until(() => forwarder.status()[0].sent === 2, 'it is written');
    expect(numbers(linesOf(name))).toEqual([1, 2]);
  });
});
