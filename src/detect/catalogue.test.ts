import { describe, expect, test } from 'vitest';
import { OPERATION_NAMES, Operation, Role } from '../dissect/operation.ts';
import { alertKind, CATALOGUE, describe as described } from './catalogue.ts';
import { programmingAlert } from './programming.ts';

describe('the catalogue', () => {
  test('has each kind once, and a title of its own', () => {
    expect(new Set(CATALOGUE.map(({ kind }) => kind)).size).toBe(CATALOGUE.length);
    expect(new Set(CATALOGUE.map(({ title }) => title)).size).toBe(CATALOGUE.length);
  });

  test.each(CATALOGUE.map((row) => [row.kind, row] as const))('%s is well formed', (kind, row) => {
    expect(kind).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(['critical', 'major', 'minor', 'warning']).toContain(row.severity);
    // ATT&CK for ICS: T and four digits, the first of which is 0.
    for (const technique of row.techniques) expect(technique).toMatch(/^T0\d{3}$/);
    // What the sensor says of itself is nobody's attack.
    expect(row.techniques.length > 0).toBe(row.category !== 'Sensor');
    expect(alertKind(kind)).toBe(row);
    // Braces are closed and hold one name each.
    expect(row.description.replace(/\{\w+\}/g, '')).not.toMatch(/[{}]/);
  });

  test('a kind that is not in it is a defect', () => {
    expect(() => alertKind('nonsense')).toThrow('no alert kind "nonsense"');
  });
});

describe('a description', () => {
  test('holds the details', () => {
    const details = { what: 'pump write', from_zone: 'hall', to_zone: 'cell 1', why: 'nothing allows it' };
    expect(described('zone_crossing', details)).toBe('pump write from hall to cell 1: nothing allows it');
  });
  test('leaves out what is missing', () => {
    expect(described('device_stop', {})).toBe('A controller was told to stop.');
  });
  test('takes details as they are: braces and patterns in them mean nothing', () => {
    expect(described('device_stop', { what: '{kind} $& $1 \\' })).toBe('A controller was told to stop. {kind} $& $1 \\');
    // What every object has is no detail.
    expect(described('new_device', JSON.parse('{"device":"constructor"}'))).toBe(
      'A device that was not known before spoke: constructor.',
    );
  });
});

describe('programming', () => {
  test.each([
    ['program_download', 'program_download'],
    ['program_upload', 'program_upload'],
    ['firmware', 'firmware_change'],
    ['mode_change', 'mode_change'],
    ['stop', 'device_stop'],
    ['start', 'device_start'],
    ['restart', 'device_restart'],
  ] as const)('%s raises %s, from a client or from whom nothing is known', (operation, kind) => {
    expect(programmingAlert(Operation[operation], Role.client)).toBe(kind);
    expect(programmingAlert(Operation[operation], Role.unknown)).toBe(kind);
    expect(programmingAlert(Operation[operation], Role.server)).toBeNull();
    expect(alertKind(kind).engine).toBe('operational');
  });

  test('no other operation does', () => {
    const others = OPERATION_NAMES.filter((name) => programmingAlert(Operation[name], Role.client) === null);
    expect(others).toHaveLength(OPERATION_NAMES.length - 7);
    expect(others).toEqual(expect.arrayContaining(['other', 'read', 'write', 'control', 'error']));
  });
});
