import type { Command } from 'commander';
import { loadPcap, PcapUnavailableError } from '../../native-bindings/pcap/index.ts';
import { FilterError, filterExpression, filterOf, type InterfaceFilter, plainExpression } from '../capture/filter.ts';
import { OperatingError } from '../errors.ts';
import { printable } from './table.ts';

interface FilterArguments {
  include: string[];
  exclude: string[];
  config?: string;
  interface?: string;
  forFiles?: true;
}

const collected = (value: string, before: string[]): string[] => [...before, value];

export function register(program: Command): void {
  program
    .command('capture-filter')
    .description('show the capture filter that includes and excludes become, and whether libpcap understands it')
    .option('-i, --include <entry>', 'capture only this, or another one that is included', collected, [])
    .option('-x, --exclude <entry>', 'and not this', collected, [])
    .option('--config <file>', 'the filters of the interfaces in these settings (YAML)')
    .option('--interface <name>', 'only of this interface')
    .option('--for-files', 'as capture files need it, where a VLAN tag lies in the packet: for tcpdump -r')
    .addHelpText(
      'after',
      `
An entry is one or more of these, which must all hold:
  host ADDRESS           an IPv4, IPv6 or MAC address, as sender or receiver
  pair ADDRESS ADDRESS   between the two, in either direction
  subnet ADDRESS/BITS    sender or receiver in it
  port [tcp/|udp/|sctp/]N[-M]
  vlan ID                on one of the two outer tags
Under capture, interfaces the settings have lists of the same entries: include and exclude.
Later fragments have no ports: all of them are included with a port, none is excluded by one.

Examples:
  $ ot-sensor capture-filter --include 'subnet 10.1.0.0/16' --exclude 'host 10.1.0.9 port tcp/445'
  $ ot-sensor capture-filter --include 'vlan 20' --include 'vlan 30'
  $ ot-sensor capture-filter --config /etc/ot-sensor/sensor.yaml`,
    )
    .action(captureFilter);
}

async function captureFilter(args: FilterArguments): Promise<void> {
  try {
    const texts = (await filtersOf(args)).map(([name, settings]) => {
      const head = name === '' ? '' : `# ${printable(name)}\n`;
      return `${head}${shown(settings, args.forFiles === true)}`;
    });
    process.stdout.write(texts.join('\n'));
  } catch (error) {
    if (error instanceof FilterError) throw new OperatingError('usage', error.message);
    throw error;
  }
}

/** By the interface's name, '' for what the command line says. */
async function filtersOf(args: FilterArguments): Promise<[name: string, settings: InterfaceFilter][]> {
  const { include, exclude } = args;
  if (args.config === undefined) {
    if (args.interface !== undefined) throw new OperatingError('usage', '--interface is one of the settings: give --config too');
    if (include.length + exclude.length === 0) {
      throw new OperatingError(
        'usage',
        'name what to capture with --include, what not with --exclude, or the settings with --config',
      );
    }
    return [['', { filter: '', include, exclude }]];
  }
  if (include.length + exclude.length > 0)
    throw new OperatingError('usage', 'give --include and --exclude, or --config, not both');
  const { loadConfig } = await import('./run.ts');
  const { interfaces } = loadConfig(args.config).capture;
  const found = interfaces.filter(({ name }) => args.interface === undefined || name === args.interface);
  if (found.length === 0) {
    const names = interfaces.map(({ name }) => name).join(', ');
    throw new OperatingError('not_found', `${args.config}: has no interface "${args.interface}"; there are ${names}`);
  }
  return found.map((settings) => [settings.name, settings]);
}

function shown(settings: InterfaceFilter, for_files: boolean): string {
  const plain = plainExpression(settings, for_files ? 'file' : 'live');
  // An expression of the operator's own is shown as it is.
  const filter = plain !== '' && for_files ? filterExpression(settings, 'file') : filterOf(settings);
  if (filter === '') return '# everything is captured\n';
  const parts = plain === '' ? '' : `# without a tag: ${plain}\n# and the same behind one VLAN tag and behind two:\n`;
  return `${parts}${printable(filter)}\n${checked(filter)}\n`;
}

/** What libpcap says about it. Throws OperatingError where it does not understand it. */
function checked(filter: string): string {
  try {
    const pcap = loadPcap();
    return `# understood by ${pcap.version()}: about ${pcap.compileFilter(filter)} of the 4096 instructions that the kernel takes`;
  } catch (error) {
    if (error instanceof PcapUnavailableError) return `# not checked: ${error.message}`;
    if ((error as { code?: string }).code === 'FILTER') throw new OperatingError('usage', (error as Error).message);
    throw error;
  }
}
