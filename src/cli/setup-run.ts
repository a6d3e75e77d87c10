import fs from 'node:fs';
import { isIP } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { listPorts, type Port } from '../capture/port-list.ts';
import { readConfig } from '../config.ts';
import { OperatingError } from '../errors.ts';
import { checkPolicyFile } from '../policy/check.ts';
import { Service } from '../sensor/service.ts';
import { type Answers, readAnswers } from '../setup/answers.ts';
import { asOwnerOfMade, FIRST_SETTINGS, nameInCertificate } from '../setup/first-start.ts';
import { changedSettings, settingsText, writeSettings } from '../setup/settings-file.ts';
import { type Conversation, proposeZones } from '../setup/zone-proposal.ts';
import { StoreReader } from '../store/queries.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import { requestFile } from '../update/requests.ts';
import { faultText } from '../yaml/fault.ts';
import { readPages } from './data.ts';
import { fileReason } from './failure.ts';
import { measureInterfaces } from './interfaces.ts';
import { DEFAULT_CONFIG } from './run.ts';
import { refuseMirrorPort } from './serve.ts';
import type { SetupArguments } from './setup.ts';
import { printable, printRows } from './table.ts';
import { registry } from './zone-file.ts';

const WILDCARDS = ['0.0.0.0', '::'];
const UNITS = ['ot-sensor.service', 'ot-sensor-api.service'];
/** Conversations that zones are proposed from, at most. */
const MAX_CONVERSATIONS = 500_000;

/** Every interface that is on has one, unless IPv6 is off; nobody can be told to connect to it. */
const isLinkLocal = (address: string) => /^fe[89ab]/i.test(address);

const say = (text: string) => void process.stdout.write(`${text}\n`);

/** Asks, checks, and writes: nothing is changed before all has been answered and found good. Throws OperatingError. */
export async function runSetup(args: SetupArguments): Promise<void> {
  const answers = { ...(args.answers === undefined ? {} : answersIn(args.answers)), ...given(args) };
  const file = path.resolve(args.config);
  const { text, exists } = settingsText(file);
  const { config: present } = readConfig(text, path.dirname(file), { without_mirror_port: true });
  const asks = args.answers === undefined && args.yes !== true && process.stdin.isTTY === true && process.stdout.isTTY === true;
  const terminal = asks ? createInterface({ input: process.stdin, output: process.stdout }) : null;
  try {
    const healthy = await showInterfaces(args.seconds);
    const ports = listPorts();
    const ask = new Questions(terminal);
    const before = present?.capture.interfaces.map(({ name }) => name) ?? [];
    const mirror_ports = await ask.list('Mirror ports', answers.mirror_ports, before.length > 0 ? before : healthy);
    checkMirrorPorts(mirror_ports, ports);
    const addresses = ports
      .filter(({ name, loopback }) => !loopback && !mirror_ports.includes(name))
      .flatMap((one) => one.addresses.filter((address) => !isLinkLocal(address)));
    const proposed = present === null || present.api.host === '127.0.0.1' ? (addresses[0] ?? '127.0.0.1') : present.api.host;
    const host = await ask.text('Management address', answers.host, asks ? proposed : (present?.api.host ?? '127.0.0.1'));
    checkHost(host, ports, mirror_ports);
    const port = Number(await ask.text('TCP port of the API', answers.port?.toString(), String(present?.api.port ?? 8443)));
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new OperatingError('usage', 'a TCP port is 1 to 65535');
    const data = path.resolve(await ask.text('Data directory', answers.data, present?.data ?? '/var/lib/ot-sensor'));
    const propose = await ask.yes('Propose zones from the subnets that are seen?', answers.propose_zones, asks);
    const changed = changedSettings(text, { mirror_ports, host, port, data });
    if (exists && changed !== text && text !== FIRST_SETTINGS && !(await ask.yes(`Replace ${file}?`, answers.overwrite, false)))
      throw new OperatingError(
        'conflict',
        `${file} is there already; --yes (or "overwrite: true") replaces it. Nothing was written`,
      );
    const proposal = propose ? await zonesFor(data, mirror_ports, args.seconds) : null;
    const backup = changed === text ? null : writeSettings(file, changed, new Date());
    say(backup === null ? `${file} is as it was` : `${file} was written${backup === '' ? '' : `; the one before is ${backup}`}`);
    if (proposal !== null) writeProposal(proposal, path.dirname(file));
    if (await asOwnerOfMade(data, () => nameInCertificate(data, host))) say(`a new self-signed certificate names ${host}`);
    if (file === DEFAULT_CONFIG) allowData(data);
    sayTime();
    const units = [...UNITS, 'ot-sensor-update.path'].join(' ');
    if (fs.existsSync('/run/systemd/system')) say(`now: systemctl daemon-reload && systemctl restart ${units}`);
  } finally {
    terminal?.close();
  }
}

function answersIn(file: string): Answers {
  let text: string;
  try {
    text = fs.readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new OperatingError('usage', `${file}: ${fileReason(error)}`);
  }
  const { model, faults } = readAnswers(text);
  if (model !== null) return model;
  const lines = faults.map((fault) => printable(`${file}:${faultText(fault)}`)).join('\n');
  throw new OperatingError('usage', `the answers have faults; nothing was done\n${lines}`);
}

/** Only what was said, so that it goes before the file of answers. */
function given({ mirrorPort, host, port, data, proposeZones, yes }: SetupArguments): Answers {
  const all = { mirror_ports: mirrorPort, host, port, data, propose_zones: proposeZones, overwrite: yes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Asks where there is a terminal; else what was answered, or what stands, is taken. */
class Questions {
  private readonly terminal: Interface | null;
  /** Lines wait here: whoever pastes all the answers at once has them taken one by one. */
  private readonly lines: AsyncIterator<string> | undefined;
  constructor(terminal: Interface | null) {
    this.terminal = terminal;
    this.lines = terminal?.[Symbol.asyncIterator]();
  }

  async text(question: string, answer: string | undefined, standing: string): Promise<string> {
    if (answer !== undefined || this.terminal === null) return answer ?? standing;
    this.terminal.setPrompt(`${question} [${standing}]: `);
    this.terminal.prompt();
    const line = await this.lines!.next();
    // Ctrl-C or Ctrl-D.
    if (line.done) throw new OperatingError('usage', 'broken off; nothing was changed');
    return line.value.trim() || standing;
  }

  async list(question: string, answer: string[] | undefined, standing: string[]): Promise<string[]> {
    if (answer !== undefined) return answer;
    if (this.terminal === null)
      throw new OperatingError('usage', 'name the mirror ports: --mirror-port a,b or "mirror_ports" in the answers');
    const text = await this.text(`${question} (names separated by commas)`, undefined, standing.join(','));
    return text.split(',').flatMap((name) => name.trim() || []);
  }

  async yes(question: string, answer: boolean | undefined, standing: boolean): Promise<boolean> {
    if (answer !== undefined || this.terminal === null) return answer ?? standing;
    const text = await this.text(`${question} (yes or no)`, undefined, standing ? 'yes' : 'no');
    return /^y(es)?$/i.test(text);
  }
}

/** Names of those that look like mirror ports. */
async function showInterfaces(seconds: number): Promise<string[]> {
  if (seconds > 0) process.stderr.write(`ot-sensor: listening at the interfaces for ${seconds} s …\n`);
  const rows = await measureInterfaces({ seconds, backend: 'auto', filter: '', format: 'table' });
  const shown = rows.map(({ name, up, link, addresses, packets_per_second, verdicts }) => ({
    interface: name,
    link: up !== true ? 'off' : link === false ? 'no link' : 'on',
    addresses: addresses?.join(' ') ?? '',
    'packets/s': packets_per_second,
    verdict: verdicts?.map(({ text }) => text).join('; ') ?? '',
  }));
  if (shown.length > 0) await printRows(shown, 'table');
  return rows
    .filter(({ verdicts, addresses }) => addresses?.every(isLinkLocal) && verdicts?.some(({ code }) => code === 'healthy'))
    .map(({ name }) => name);
}

function checkMirrorPorts(mirror_ports: readonly string[], ports: readonly Port[]): void {
  if (mirror_ports.length === 0) throw new OperatingError('usage', 'at least one mirror port is needed');
  for (const name of mirror_ports) {
    const port = ports.find((one) => one.name === name);
    if (port === undefined) {
      const known = ports.map((one) => one.name).join(', ') || 'none';
      throw new OperatingError('not_found', `${name}: no such interface; there are ${known}`);
    }
    if (port.addresses.length > 0)
      process.stderr.write(`ot-sensor: ${name} has the address ${port.addresses[0]}; a mirror port should have none\n`);
  }
}

function checkHost(host: string, ports: readonly Port[], mirror_ports: readonly string[]): void {
  refuseMirrorPort(
    host,
    mirror_ports.map((name) => ({ name })),
  );
  const known = [...WILDCARDS, '127.0.0.1', '::1', 'localhost', ...ports.flatMap(({ addresses }) => addresses)];
  if (known.includes(host)) return;
  if (isIP(host) === 0)
    throw new OperatingError('usage', `the management address is an IP address, and not "${printable(host)}"`);
  const here = ports.filter(({ loopback }) => !loopback).flatMap(({ addresses }) => addresses);
  throw new OperatingError(
    'usage',
    `${host} is no address of this machine; it has ${here.join(', ') || 'none but the loopback'} (an interface without a link tells none)`,
  );
}

/** Of what is in the database; where nothing is, of what comes in now. */
async function zonesFor(data: string, mirror_ports: readonly string[], seconds: number) {
  const stored = fs.existsSync(path.join(data, DATABASE_FILE)) ? conversationsIn(data) : [];
  if (stored.length > 0) return proposeZones(stored, isProtocol, 'the conversations in the database');
  const heard = Math.max(1, seconds);
  process.stderr.write(`ot-sensor: nothing is known yet; listening for ${heard} s for subnets …\n`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-setup-'));
  try {
    const interfaces = `capture:\n  interfaces:\n${mirror_ports.map((name) => `    - name: ${JSON.stringify(name)}\n`).join('')}`;
    const { config } = readConfig(`data: ${JSON.stringify(folder)}\n${interfaces}`, folder);
    const service = await Service.start(config!, async () => null);
    await new Promise((resolve) => setTimeout(resolve, heard * 1000));
    service.stop();
    await service.finished;
    return proposeZones(conversationsIn(folder), isProtocol, `${heard} seconds of traffic`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function conversationsIn(data: string): Conversation[] {
  const reader = new StoreReader(data);
  try {
    return readPages((page) => reader.connections(page), MAX_CONVERSATIONS);
  } finally {
    reader.close();
  }
}

const IP_PROTOCOLS = ['tcp', 'udp', 'icmp', 'igmp', 'gre', 'esp', 'ospf'];
const isProtocol = (name: string) =>
  IP_PROTOCOLS.includes(name) || /^ip_\d+$/.test(name) || registry.dissectors.some((one) => one.name === name);

function writeProposal({ text, zones, conduits, left_out }: ReturnType<typeof proposeZones>, folder: string): void {
  if (zones === 0) {
    say('no subnet was seen: no zones are proposed; try again when there is traffic');
    return;
  }
  const faults = checkPolicyFile(text, registry);
  if (faults.length > 0) throw new Error(`the proposal has faults: ${faults.map(faultText).join('; ')}`);
  // One that somebody has begun to work on stays.
  let file = path.join(folder, 'zones-proposed.yaml');
  for (let number = 2; fs.existsSync(file); number++) file = path.join(folder, `zones-proposed-${number}.yaml`);
  fs.writeFileSync(file, text, { mode: 0o640, flag: 'wx' });
  fs.chownSync(file, process.geteuid!(), fs.statSync(folder).gid);
  const rest = left_out > 0 ? `; ${left_out} subnets with few addresses were left out` : '';
  say(
    `${file}: ${zones} zones and ${conduits} conduits, a proposal that is not in use${rest}. Go through it, then name it under "zones"`,
  );
}

/** The units may write the usual data directory alone, and wait for requests there: another one is to be named to systemd. */
function allowData(data: string): void {
  if (process.geteuid?.() !== 0 || !fs.existsSync('/etc/systemd/system')) return;
  const write = `[Service]\nReadWritePaths="${data}"\n`;
  const wait = `[Path]\nPathExists=\nPathExists=${requestFile(data)}\n`;
  for (const [unit, text] of [...UNITS, 'ot-sensor-update.service']
    .map((unit) => [unit, write])
    .concat([['ot-sensor-update.path', wait]])) {
    const folder = `/etc/systemd/system/${unit}.d`;
    const file = path.join(folder, 'data.conf');
    if (data === '/var/lib/ot-sensor') {
      fs.rmSync(file, { force: true });
      continue;
    }
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(file, `# Made by ot-sensor setup.\n${text}`);
  }
}

/** Alerts are only as good as the clock: it is not ours to set, but to ask for. */
function sayTime(): void {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const synchronized = fs.existsSync('/run/systemd/timesync/synchronized');
  const clock = synchronized
    ? 'is synchronised'
    : 'is not known to be synchronised: name an NTP server of the plant (timesyncd.conf, NTP=)';
  say(`The time zone is ${zone} (timedatectl set-timezone changes it); the clock, ${new Date().toISOString()}, ${clock}`);
}
