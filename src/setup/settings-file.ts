import fs from 'node:fs';
import path from 'node:path';
import { isMap, isSeq, parseDocument } from 'yaml';
import { readConfig } from '../config.ts';
import { OperatingError } from '../errors.ts';
import { faultText } from '../yaml/fault.ts';
import { FIRST_SETTINGS } from './first-start.ts';

export interface ChosenSettings {
  mirror_ports: readonly string[];
  host: string;
  port: number;
  data: string;
}

/** The settings of a file, as text; those of the first start where there is none. Throws OperatingError where it cannot be read. */
export function settingsText(file: string): { text: string; exists: boolean } {
  try {
    return { text: fs.readFileSync(file, 'utf8'), exists: true };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { text: FIRST_SETTINGS, exists: false };
    throw new OperatingError('config', `${file} cannot be read: ${(error as Error).message}`);
  }
}

/** The text with the choice in it: comments, other settings, and what a mirror port that stays has been given, are kept. */
export function changedSettings(text: string, { mirror_ports, host, port, data }: ChosenSettings): string {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents))
    throw new OperatingError(
      'config',
      'the settings that are there are no YAML; ot-sensor config check says where. Mend or move them',
    );
  document.set('data', data);
  for (const key of ['api', 'capture']) if (!isMap(document.get(key))) document.set(key, document.createNode({}));
  document.setIn(['api', 'host'], host);
  document.setIn(['api', 'port'], port);
  const before = document.getIn(['capture', 'interfaces']);
  const kept = isSeq(before) ? before.items.filter((item) => isMap(item)) : [];
  const entries = mirror_ports.map((name) => kept.find((item) => item.get('name') === name) ?? document.createNode({ name }));
  const list = isSeq(before) ? before : document.createNode([]);
  list.items = entries;
  list.flow = false;
  document.setIn(['capture', 'interfaces'], list);
  return document.toString({ lineWidth: 0 });
}

/**
 * Writes the settings, whole or not at all, and with the owner and the mode that they had. What was there is kept beside it; its path is
 * returned, '' where nothing was there. Throws OperatingError where they have faults, which are all said.
 */
export function writeSettings(file: string, text: string, now: Date): string {
  const { faults } = readConfig(text, path.dirname(file));
  if (faults.length > 0) {
    const lines = faults.map((fault) => `${file}:${faultText(fault)}`).join('\n');
    throw new OperatingError('config', `the settings would have faults; nothing was written\n${lines}`);
  }
  try {
    const before = fs.statSync(file, { throwIfNoEntry: false });
    const backup = before === undefined ? '' : `${file}.${now.toISOString().replace(/[-:]|\.\d+/g, '')}`;
    if (before !== undefined) copyWithOwner(file, backup, before);
    fs.writeFileSync(`${file}.new`, text, { mode: 0o640, flush: true });
    const { uid, gid, mode } = before ?? { uid: process.geteuid!(), gid: fs.statSync(path.dirname(file)).gid, mode: 0o640 };
    fs.chmodSync(`${file}.new`, mode & 0o777);
    fs.chownSync(`${file}.new`, uid, gid);
    fs.renameSync(`${file}.new`, file);
    return backup;
  } catch (error) {
    throw new OperatingError('output', `${file} cannot be written: ${(error as Error).message}`);
  }
}

function copyWithOwner(from: string, to: string, { uid, gid }: fs.Stats): void {
  fs.copyFileSync(from, to);
  fs.chownSync(to, uid, gid);
}
