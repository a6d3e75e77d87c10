import { type Command, Option } from 'commander';
import { dissectors } from '../../dissectors/index.ts';
import { type Backend, openLive } from '../capture/open-live.ts';
import { listPorts, type Port } from '../capture/port-list.ts';
import { measurePorts, noTraffic } from '../capture/port-measure.ts';
import type { PortTraffic, ProtocolNames, Share } from '../capture/port-traffic.ts';
import { type PortCapture, type Verdict, verdictsOf } from '../capture/port-verdict.ts';
import { SequenceSource } from '../capture/replay.ts';
import { Registry } from '../dissect/registry.ts';
import { protocolName } from '../engine/endpoint.ts';
import { OperatingError } from '../errors.ts';
import { integer, names } from './arguments.ts';
import { type Format, format, printable, printRows } from './table.ts';

export interface InterfacesArguments {
  interface?: string[];
  seconds: number;
  backend: Backend;
  filter: string;
  file?: string;
  format: Format;
}

/** One of them, as json and jsonl have it: what was not measured is left out. */
export interface Row extends Partial<Omit<Port, 'name'>> {
  name: string;
  backend?: string;
  limitations?: readonly string[];
  state?: string;
  message?: string;
  packets_per_second?: number;
  bytes_per_second?: number;
  traffic?: PortTraffic;
  dropped_by_kernel?: number | null;
  dropped_by_us?: number;
  dropped_by_interface?: number;
  verdicts?: Verdict[];
}

export function register(program: Command): void {
  program
    .command('interfaces')
    .description('list the network interfaces, with what comes in on each and whether it is a mirror port')
    .option('--interface <a,b>', 'these only; else all that are on, but the loopback', names)
    .option('--seconds <n>', 'how long to listen; 0 lists them only', integer(0, 3600), 5)
    .addOption(new Option('--backend <name>', 'what captures').choices(['auto', 'libpcap', 'cap']).default('auto'))
    .option('--filter <expression>', 'only packets that pass this capture filter (pcap-filter(7))', '')
    .option('--file <capture>', 'judge a capture file instead, by the interfaces it speaks of')
    .addOption(format())
    .addHelpText(
      'after',
      `
Listening needs root or the capabilities CAP_NET_RAW and CAP_NET_ADMIN. Nothing is sent.

Examples:
  $ sudo ot-sensor interfaces
  $ sudo ot-sensor interfaces --interface eth1 --seconds 60 --format json
  $ ot-sensor interfaces --file mirror.pcapng`,
    )
    .action(interfaces);
}

async function interfaces(args: InterfacesArguments): Promise<void> {
  const rows = args.file === undefined ? await measureInterfaces(args) : await ofFile(args.file);
  if (args.format !== 'table') return printRows(rows, args.format);
  await printRows(rows.map(tableRow), 'table');
  const [measured] = rows.filter(({ limitations }) => limitations !== undefined && limitations.length > 0);
  for (const limitation of measured?.limitations ?? []) note(`${measured.backend}: ${limitation}`);
}

const note = (text: string) => process.stderr.write(`ot-sensor: ${printable(text)}\n`);

/** The interfaces, and what came in on each. Throws OperatingError. */
export async function measureInterfaces({ interface: wanted, seconds, backend, filter }: InterfacesArguments): Promise<Row[]> {
  const ports = listPorts();
  for (const name of wanted ?? []) {
    if (ports.some((port) => port.name === name)) continue;
    const known = ports.map((port) => port.name).join(', ') || 'none';
    throw new OperatingError('not_found', `${name}: no such interface; there are ${known}`);
  }
  const listed = wanted === undefined ? ports : ports.filter(({ name }) => wanted.includes(name));
  const heard = listed.filter(({ up, loopback }) => wanted !== undefined || (up && !loopback));
  if (heard.length > MAX_HEARD)
    note(`${heard.length} interfaces are on; only ${MAX_HEARD} are listened to: name others with --interface`);
  const measured =
    seconds === 0 || heard.length === 0
      ? new Map<string, Row>()
      : await listen(heard.slice(0, MAX_HEARD), seconds, backend, filter);
  return listed.map((port) => ({ ...port, ...measured.get(port.name) }));
}

const MAX_HEARD = 16;

/** Rows of what was heard, by interface. Empty, with a note, where listening is not permitted or possible. */
async function listen(ports: readonly Port[], seconds: number, backend: Backend, filter: string): Promise<Map<string, Row>> {
  let source: Awaited<ReturnType<typeof openLive>>;
  try {
    source = await openLive({ backend, interfaces: ports.map(({ name }) => ({ name, filter })) });
  } catch (error) {
    // A filter that is not understood, or a backend that was asked for and is not there, is the caller's fault.
    if (!(error instanceof OperatingError) || filter !== '' || backend !== 'auto') throw error;
    note(`${error.message}; the interfaces are only listed`);
    return new Map();
  }
  const stop = () => source.stop();
  const timer = setTimeout(stop, seconds * 1000);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  const started = performance.now();
  let stopped_after: number | null = null;
  const clock = () => (stopped_after ??= Math.min(seconds, (performance.now() - started) / 1000));
  const { traffic } = await measurePorts(source, (number) => ports[number], NAMES, clock);
  clearTimeout(timer);
  source.close();
  await source.finished();
  const rows = source.statistics().map((report, number): [string, Row] => {
    const port = ports[number];
    const seen = traffic[number] ?? noTraffic(port, NAMES, clock());
    const dropped_by_kernel = source.backend === 'libpcap' ? report.dropped_by_kernel : null;
    const capture: PortCapture = { ...report, dropped_by_kernel, filtered: filter !== '', link: port.link };
    const { state, message, dropped_by_interface, dropped_by_us } = report;
    const row = {
      name: port.name,
      backend: source.backend,
      limitations: source.limitations,
      state,
      message,
      ...rates(seen),
      traffic: seen,
      dropped_by_kernel,
      dropped_by_us: Object.values(dropped_by_us).reduce((sum, count) => sum + count, 0),
      dropped_by_interface,
      verdicts: verdictsOf(seen, capture),
    };
    return [port.name, row];
  });
  return new Map(rows);
}

async function ofFile(file: string): Promise<Row[]> {
  const source = await SequenceSource.open([file]);
  const { traffic } = await measurePorts(source, () => ({ mac: null, mtu: null }), NAMES);
  for (const { message } of source.warnings) note(`${file}: ${message}`);
  return traffic.map((seen, number) => ({
    name: traffic.length === 1 ? file : `${file}, interface ${number}`,
    ...rates(seen),
    traffic: seen,
    verdicts: verdictsOf(seen, null),
  }));
}

const rates = ({ packets, bytes, seconds }: PortTraffic) => ({
  packets_per_second: seconds > 0 ? Math.round(packets / seconds) : 0,
  bytes_per_second: seconds > 0 ? Math.round(bytes / seconds) : 0,
});

const registry = new Registry(dissectors);
const NAMES: ProtocolNames = {
  onPort: (is_tcp, port) => nameOf(registry.onPort(is_tcp, port)[0] ?? -1),
  onEthertype: (ethertype) => nameOf(registry.onEthertype(ethertype)),
  onIp: protocolName,
};

function nameOf(index: number): string | null {
  return registry.dissectors[index]?.name ?? null;
}

function tableRow(row: Row): object {
  const { traffic: seen, name, up, link } = row;
  const state = up === undefined ? '' : !up ? 'off' : link === false ? 'no link' : 'on';
  const share = (count: number | undefined) =>
    seen === undefined || seen.packets === 0 || count === undefined ? '' : `${Math.round((100 * count) / seen.packets)} %`;
  const one_way = seen !== undefined && seen.conversations > 0 ? `${seen.one_way_conversations} of ${seen.conversations}` : '';
  return {
    interface: name,
    link: state,
    backend: row.backend,
    'packets/s': row.packets_per_second,
    'bytes/s': row.bytes_per_second,
    unicast: share(seen?.unicast),
    broadcast: share(seen?.broadcast),
    multicast: share(seen?.multicast),
    vlans: seen && listed(seen.vlans, 4),
    protocols: seen && listed(seen.protocols, 5),
    'one-way': one_way,
    'drops kernel/us': seen && row.backend !== undefined ? `${row.dropped_by_kernel ?? '?'}/${row.dropped_by_us}` : '',
    'cut/merged': seen && (seen.cut + seen.merged === 0 ? '' : `${seen.cut}/${seen.merged}`),
    verdict: row.verdicts?.map(({ text }) => text).join('; ') ?? '',
  };
}

function listed(shares: readonly Share[], most: number): string {
  const shown = shares.slice(0, most).map(({ name }) => name);
  return shares.length > most ? `${shown.join(' ')} +${shares.length - most}` : shown.join(' ');
}
