import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ot_sensor } from '../proto/facts.js';
import { FactLog, factOrder } from './fact-log.ts';
import { FactReader } from './fact-reader.ts';

const bytes = (...lengths: number[]) =>
  fc.constantFrom(...lengths).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
const number = fc.double({ noNaN: true });
const u32 = fc.nat(0xffff_ffff);
const s32 = fc.integer();
const text = fc.oneof(
  fc.constantFrom('', 'modbus', 'holding registers', 'client', 'größe'),
  fc.string({ unit: 'grapheme', maxLength: 80 }),
);
/** Names of map entries; `__proto__` is none in JavaScript. */
const name = fc.constantFrom('a', 'tcp.gaps', 'decode.packets');
const vlan = fc.array(u32, { maxLength: 3 });
const endpoint = fc.record({ mac: bytes(0, 6, 8), ip: bytes(0, 4, 16, 5), port: u32 }, { requiredKeys: [] });
const some = <T>(fields: { [Name in keyof T]: fc.Arbitrary<T[Name]> }) => fc.record(fields, { requiredKeys: [] });

const what: fc.Arbitrary<ot_sensor.IFact> = fc.oneof(
  fc.record({
    flow_opened: some({
      flow_id: number,
      opener: endpoint,
      responder: endpoint,
      vlan,
      proto: text,
      opener_certain: fc.boolean(),
      ethertype: u32,
    }),
  }),
  fc.record({
    flow_update: some({
      flow_id: number,
      app_proto: text,
      recognised_by: text,
      packets_from_opener: number,
      packets_from_responder: number,
      bytes_from_opener: number,
      bytes_from_responder: number,
      first_ms: number,
      last_ms: number,
      client: s32,
      ended: fc.boolean(),
      opener_certain: fc.boolean(),
    }),
  }),
  fc.record({
    activity: some({
      flow_id: number,
      app_proto: text,
      operation: text,
      from_opener: fc.boolean(),
      role: text,
      target: text,
      target_first: number,
      target_last: number,
      unit: s32,
      unit_name: text,
      count: number,
      first_ms: number,
      last_ms: number,
    }),
  }),
  fc.record({ binding: some({ endpoint, vlan, how: text }) }),
  fc.record({ attribute: some({ endpoint, vlan, part: text, attribute: text, value: text, app_proto: text, field: text }) }),
  fc.record({ finding: some({ key: text, kind: text, source: endpoint, details: fc.dictionary(name, text) }) }),
  fc.record({ finding_update: some({ key: text, count: number }) }),
  fc.record({ finding_evidence: some({ key: text }) }),
);
const facts = fc.array(
  fc.tuple(what, number, number).map(([fact, frame, time_ms]) => ({ ...fact, frame, time_ms })),
  { maxLength: 12 },
);
const counters = fc.option(fc.dictionary(name, number));
const ENDS = {
  flow_opened: ['opener', 'responder'],
  binding: ['endpoint'],
  attribute: ['endpoint'],
  finding: ['source'],
} as const;

/** With the defaults of all that was left out, ends included: what is not said and what is said to be empty are one. */
function whole(fact: ot_sensor.IFact): unknown {
  const said = Object.fromEntries(Object.entries(fact).filter(([, value]) => value !== null && value !== undefined));
  const all = ot_sensor.Fact.toObject(ot_sensor.Fact.fromObject(said), {
    defaults: true,
    arrays: true,
    objects: true,
    bytes: Array,
  });
  for (const [kind, ends] of Object.entries(ENDS))
    for (const end of ends)
      if (all[kind])
        all[kind][end] = ot_sensor.Endpoint.toObject(ot_sensor.Endpoint.fromObject(all[kind][end] ?? {}), {
          defaults: true,
          bytes: Array,
        });
  return all;
}

describe('facts from bytes', () => {
  test('are what protobufjs reads', () => {
    fc.assert(
      fc.property(facts, counters, (facts, values) => {
        const encoded = ot_sensor.BatchFacts.encode({ facts, counters: values && { values } }).finish();
        const expected = ot_sensor.BatchFacts.decode(encoded);
        const reader = new FactReader(encoded);
        for (const fact of expected.facts) {
          expect(reader.next()).toBe(true);
          expect(whole(reader.fact)).toEqual(whole(fact));
        }
        expect(reader.next()).toBe(false);
        expect(reader.counters).toEqual({ ...expected.counters?.values });
      }),
      { numRuns: 300 },
    );
  });

  test('texts are told apart whatever was read before', () => {
    const words = Array.from({ length: 5000 }, (_, i) => `word ${(i * 7919) % 2500}`);
    const encoded = ot_sensor.BatchFacts.encode({
      facts: words.map((app_proto) => ({ frame: 1, time_ms: 1, flow_update: { app_proto } })),
    }).finish();
    const reader = new FactReader(encoded);
    for (const word of words) {
      reader.next();
      expect(reader.fact.flow_update?.app_proto).toBe(word);
    }
  });

  test('fields of a later version are passed over', () => {
    const fact = Uint8Array.of(
      ...[0x09, 0, 0, 0, 0, 0, 0, 0, 0x40], // frame 2
      ...[0xf8, 0x01, 0x96, 0x01], // field 31, varint
      ...[0xf2, 0x01, 2, 1, 2], // field 30, two bytes
      ...[0xed, 0x01, 1, 2, 3, 4], // field 29, 32 bits
      ...[0x22, 5, 0xe8, 0x07, 1, 0x58, 1], // flow_update: field 125, ended
    );
    const reader = new FactReader(Uint8Array.of(0x1a, 1, 9, 0x0a, fact.length, ...fact));
    expect(reader.next()).toBe(true);
    expect(reader.fact).toMatchObject({ frame: 2, flow_update: { ended: true } });
    expect(reader.next()).toBe(false);
  });

  test('bytes that are no message end or throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const reader = new FactReader(bytes);
        let count = 0;
        try {
          while (count <= bytes.length && reader.next()) count++;
        } catch (error) {
          expect((error as Error).name).toMatch(/Error$/);
        }
        expect(count).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 500 },
    );
  });
});

/** As the engine says them: with all ends, and fields that are set or have their defaults. */
function complete(fact: ot_sensor.IFact): ot_sensor.IFact {
  const all = ot_sensor.Fact.decode(ot_sensor.Fact.encode(fact).finish()) as unknown as Record<string, Record<string, unknown>>;
  for (const [kind, ends] of Object.entries(ENDS))
    for (const end of ends) if (all[kind]) all[kind][end] ??= ot_sensor.Endpoint.fromObject({});
  return all;
}

describe('a fact log', () => {
  const few = fc.oneof(number, fc.constantFrom(1, 1.5, 2, 2.5));
  const inBatches = fc.array(
    fc.array(
      fc.tuple(what, few, number).map(([fact, frame, time_ms]) => complete({ ...fact, frame, time_ms })),
      { maxLength: 12 },
    ),
    { maxLength: 3 },
  );

  test('gives what was added, as protobufjs reads it, in the order of the packets', () => {
    const log = new FactLog();
    fc.assert(
      fc.property(inBatches, counters, (batches, values) => {
        for (const batch of batches) {
          for (const fact of batch) log.add(fact);
          expect(log.count).toBe(batch.length);
          const read = ot_sensor.BatchFacts.decode(log.encode(values));
          expect(read.facts.map(whole)).toEqual([...batch].sort(factOrder).map(whole));
          expect({ ...read.counters?.values }).toEqual({ ...values });
        }
      }),
      { numRuns: 300 },
    );
  });

  test.each([127, 128, 16_000, 17_000, 200_000])('keeps a text of %d characters', (size) => {
    const log = new FactLog();
    const word = 'ä'.repeat(size);
    const activity = { app_proto: word, operation: word, role: '', target: 'a'.repeat(size), unit_name: '', unit: -1 };
    for (const frame of [2, 1]) log.add(complete({ frame, time_ms: 1, activity }));
    const { facts } = ot_sensor.BatchFacts.decode(log.encode(null));
    expect(facts.map(({ frame }) => frame)).toEqual([1, 2]);
    for (const fact of facts) expect(fact.activity).toMatchObject(activity);
  });
});
