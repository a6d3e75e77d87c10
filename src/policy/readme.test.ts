import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type AnyDissector, defineDissector, list, record, tcp, u8, u16, within } from '../dissect/index.ts';
import { Registry } from '../dissect/registry.ts';
import { checkCondition, FieldCatalogue } from './compile.ts';
import { checkPolicyFile, faultText, readPolicy } from './index.ts';
import { parseRule } from './rule.ts';

const framing = { headerSize: 1, maxSize: 100, sizeOf: () => 1 };
const rest = {
  specification: '',
  title: '',
  anomalies: {},
  newState: () => null,
  probe: () => 2 as const,
  dissect: () => {},
  framing,
};
const dissectors: AnyDissector[] = [
  defineDissector({
    ...rest,
    name: 'modbus',
    carriers: tcp(502),
    records: [
      record('modbus', '', {
        function_code: u8(null, '', { names: { 5: 'Write Single Coil', 22: 'Mask Write Register' } }),
        address: u16(null, ''),
        register_values: list(u16(null, '')),
      }),
    ],
  }),
  defineDissector({ ...rest, name: 'cotp', carriers: tcp(102), records: [record('cotp', '', { pdu_type: u8(null, '') })] }),
  defineDissector({
    ...rest,
    name: 's7comm',
    carriers: within('cotp'),
    records: [
      record('s7comm', '', { function: u8(null, '', { names: { 41: 'PLC Stop' } }) }),
      record('s7comm_item', '', { db: u16(null, '') }),
    ],
  }),
  defineDissector({
    ...rest,
    name: 'dnp3',
    carriers: tcp(20000),
    records: [record('dnp3_control', '', { index: u16(null, '') })],
  }),
];
const registry = new Registry(dissectors);
const readme = readFileSync(new URL('README.md', import.meta.url), 'utf8');

describe('the README', () => {
  it('has an example without faults', () => {
    const [, yaml] = /```yaml\n([\s\S]*?)```/.exec(readme)!;
    expect(readPolicy(yaml, registry).faults.map(faultText)).toEqual([]);
    // Only what the comments in the example explain.
    expect(checkPolicyFile(yaml, registry).map(({ code }) => code)).toEqual(['overlap']);
  });

  it('has conditions without faults', () => {
    const [, block] = /## Conditions\n\n([\s\S]*?)\n\n/.exec(readme)!;
    const rules = block.split('\n').map((line) => line.trim());
    expect(rules).toHaveLength(3);
    for (const rule of rules) {
      const { expression, fault } = parseRule(rule);
      expect(fault).toBeNull();
      expect(checkCondition(expression!, new FieldCatalogue(registry))).toEqual([]);
    }
  });
});
