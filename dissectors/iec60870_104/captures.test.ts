import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { fixture, lines, ot } from '../../src/cli/testing.ts';

const corpus = path.resolve(process.env.OT_SENSOR_PCAPS ?? path.join(import.meta.dirname, '../../../shared/pcaps'), 'iec104');
if (!fs.existsSync(corpus)) console.warn(`SKIPPED: only the fixtures are tried; there is no ${corpus} (OT_SENSOR_PCAPS)`);
const inFolder = (folder: string) => fs.readdirSync(folder).map((name) => path.join(folder, name));
const captures = [fixture('iec60870_104'), ...(fs.existsSync(corpus) ? [corpus] : [])]
  .flatMap(inFolder)
  .filter((file) => /\.pcap(ng)?$/.test(file));

/** Test programs play there: direct commands, selects that are refused, and direct commands of the same objects behind them. */
it.each(captures)('nothing is wrong with the selects and executes of %s', async (file) => {
  const { code, stdout } = await ot(['dissect', file, '--protocol', 'iec60870_104']);
  expect(code).toBe(0);
  const found = lines(stdout).flatMap(({ anomalies = [] }) => anomalies as string[]);
  expect(found.filter((name) => /^(execute|select)_/.test(name))).toEqual([]);
});
