import type { Command } from 'commander';
import { type ProtocolTotal, StoreReader, sumProtocols } from '../store/queries.ts';
import { dataOption } from './data.ts';
import { type Format, format, printRows } from './table.ts';

/** Connections that are summed at once. */
const SLICE = 20_000;

export function register(program: Command): void {
  program
    .command('protocols')
    .description('what is spoken, the most packets first')
    .addOption(dataOption())
    .addOption(format())
    .addHelpText('after', '\nExample:\n  $ ot-sensor protocols --data /var/lib/ot-sensor')
    .action(protocols);
}

async function protocols({ data, format }: { data: string; format: Format }): Promise<void> {
  const reader = new StoreReader(data);
  let totals: ProtocolTotal[];
  try {
    totals = sumProtocols([...reader.protocolSlices(SLICE)]);
  } finally {
    reader.close();
  }
  await printRows(totals, format);
}
