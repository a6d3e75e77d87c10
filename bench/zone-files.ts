// Zone files the measured runs and parts are held against, by what they are to cost.

/** The clients of the load and its server, a zone each, and ten conduits; `writes`: one of them lets writes through. */
export function loadZones(writes: boolean): string {
  const conduits = Array.from(
    { length: 8 },
    (_, i) => `  - { name: other ${i}, from: servers, to: clients, protocols: modbus, operations: read, ports: ${9000 + i} }`,
  );
  return [
    'default: alert',
    'zones:',
    '  - { name: clients, subnets: [10.0.0.0/16] }',
    '  - { name: servers, subnets: [10.1.0.0/16] }',
    'conduits:',
    '  - { name: polling, from: clients, to: servers, protocols: modbus, operations: read, when: modbus.register_quantity <= 125 }',
    writes
      ? '  - { name: set points, from: clients, to: servers, protocols: modbus, operations: write }'
      : '  - { name: names, from: clients, to: servers, protocols: modbus, operations: identify }',
    ...conduits,
    '',
  ].join('\n');
}

/** `zones` zones of a subnet each, and `conduits` conduits, of which those between the first two zones are spread over the list. */
export function manyZones(zones: number, conduits: number): string {
  const lines = ['default: alert', 'zones:'];
  for (let i = 0; i < zones; i++) lines.push(`  - { name: z${i}, subnets: [10.${i}.0.0/16] }`);
  lines.push('conduits:');
  for (let i = 0; i < conduits; i++) {
    const last = i === conduits - 1;
    const from = last ? 0 : (i * 7) % zones;
    const to = last ? 1 : (i * 7 + 1 + (i % 3)) % zones;
    const what = last ? 'operations: read, when: modbus.register_quantity <= 125' : 'operations: write';
    lines.push(`  - { name: c${i}, from: z${from}, to: z${to}, protocols: modbus, ${what} }`);
  }
  return `${lines.join('\n')}\n`;
}
