import fs from 'node:fs';
import { dissectors } from '../../dissectors/index.ts';
import { Registry } from '../dissect/registry.ts';
import { OperatingError } from '../errors.ts';
import { checkPolicy, type Fault, faultText, type PolicyFile, type PolicyModel, readPolicy } from '../policy/index.ts';
import { fileReason } from './failure.ts';
import { printable } from './table.ts';

/** The registry that zone files are checked against: every dissector there is. */
export const registry = new Registry(dissectors);

export function readZoneFile(path: string): PolicyFile {
  let text: string;
  try {
    text = fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw new OperatingError('zone_file', `${path}: ${fileReason(error)}; give the path of a zone file (YAML)`);
  }
  return readPolicy(text, registry);
}

/** A zone file that is to be used: any fault refuses it, with its place. Warnings are `zones check`'s to tell; that there are some is said. */
export function loadPolicy(path: string): PolicyModel {
  const { model, faults } = readZoneFile(path);
  const lines = (list: readonly Fault[]) => list.map((fault) => printable(`${path}:${faultText(fault)}`)).join('\n');
  if (model === null) throw new OperatingError('zone_file', `the zone file has faults; nothing was done\n${lines(faults)}`);
  const warnings = checkPolicy(model, registry);
  if (warnings.length > 0) {
    const some = warnings.length === 1 ? 'a warning' : `${warnings.length} warnings`;
    process.stderr.write(`ot-sensor: ${path} is used, with ${some}: ot-sensor zones check ${path}\n`);
  }
  return model;
}
