import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { Appliance, type ApplianceOptions } from '../appliance/appliance.ts';
import { OperatingError } from '../errors.ts';
import { log } from '../log.ts';
import { FIRST_PASSWORD_FILE } from '../users/first-user.ts';
import { version } from '../version.ts';
import { integer } from './arguments.ts';
import { DEFAULT_DATA } from './data.ts';
import { DEFAULT_ROOT, DEFAULT_ROOT_KEY } from './update.ts';

const DEFAULT_HOST = '127.0.0.1';
const DEFAULT_PORT = 8443;
const LOCAL_PORT = 8080;

export function register(program: Command): void {
  program
    .command('serve')
    .description('serve the API over the data of a sensor, and watch its health, until SIGTERM')
    .option('--config <file>', 'settings (YAML), of which data, api.host and api.port are taken; the options go before them')
    .option('--data <dir>', `directory of the database (default: "${DEFAULT_DATA}")`)
    .option('--host <address>', `address of the management interface (default: ${DEFAULT_HOST})`)
    .option('--port <n>', `TCP port (default: ${DEFAULT_PORT})`, integer(0, 65_535))
    .option('--no-tls', 'plain HTTP, on a loopback address alone')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor serve --config /etc/ot-sensor/sensor.yaml
  $ ot-sensor serve --data /var/lib/ot-sensor --host 192.0.2.10
  $ ot-sensor serve --no-tls --port 8080`,
    )
    .action(serve);
}

interface ServeArguments {
  config?: string;
  data?: string;
  host?: string;
  port?: number;
  tls: boolean;
}

async function serve(args: ServeArguments): Promise<void> {
  const config =
    args.config === undefined ? undefined : (await import('./run.ts')).loadConfig(args.config, { without_mirror_port: true });
  const data = args.data ?? config?.data ?? DEFAULT_DATA;
  const host = args.host ?? config?.api.host ?? DEFAULT_HOST;
  const port = args.port ?? config?.api.port ?? DEFAULT_PORT;
  if (config !== undefined) refuseMirrorPort(host, config.capture.interfaces);
  const config_file = args.config === undefined ? '' : path.resolve(args.config);
  await serveUntilSignal({ directory: path.resolve(data), config_file, host, port, tls: args.tls }, data);
}

/**
 * The API is never to be reached from the network that is watched. A wildcard takes in every address, so it is refused where a mirror
 * port has one. Throws OperatingError.
 */
export function refuseMirrorPort(
  host: string,
  mirror_ports: readonly { name: string }[],
  interfaces = os.networkInterfaces(),
): void {
  for (const { name } of mirror_ports) {
    const addresses = (interfaces[name] ?? []).map(({ address }) => address);
    const wildcard = host === '0.0.0.0' || host === '::';
    // Over 0.0.0.0 no IPv6 address is reached.
    const reached = wildcard
      ? addresses.find((address) => host === '::' || !address.includes(':'))
      : addresses.find((address) => address === host);
    if (reached === undefined) continue;
    const help = wildcard ? `name the address of the management interface instead of ${host}` : 'serve on another address';
    throw new OperatingError('config', `the mirror port ${name} has the address ${reached}, where the API must not be; ${help}`);
  }
}

/** Says where the API is, and serves it until SIGINT or SIGTERM. `data`: the directory as it was named. */
async function serveUntilSignal(
  options: Omit<ApplianceOptions, 'version' | 'program' | 'program_root' | 'update_root_keys'>,
  data: string,
): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const appliance = await Appliance.start({
    version: version(),
    program: process.argv[1],
    program_root: DEFAULT_ROOT,
    update_root_keys: [DEFAULT_ROOT_KEY],
    ...options,
  });
  log.info({ url: appliance.url }, 'the API is served');
  process.stdout.write(welcome(appliance, data));
  await stopped;
  await appliance.stop();
}

/** After a replay: on loopback, for whoever sits at this machine; on another port where the usual one is taken. */
export async function serveHere(data: string): Promise<void> {
  const options = { directory: path.resolve(data), config_file: '', host: '127.0.0.1', tls: false };
  const port = (await isFree(LOCAL_PORT)) ? LOCAL_PORT : 0;
  await serveUntilSignal({ ...options, port }, data);
}

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const probe = net.createServer().once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });

/** How to ask it. The first password is shown to people only: what a service prints ends up in a log. */
export function welcome({ url, first }: Pick<Appliance, 'url' | 'first'>, data: string): string {
  const insecure = url.startsWith('https') ? ' -k' : '';
  const sign_in = `curl${insecure} ${url}/api/v3/session -H 'content-type: application/json' -d '{"name":"admin","password":"…"}'`;
  const lines = [`\nThe API is at ${url}, its description at ${url}/api/docs`];
  if (first !== null) {
    const shown = process.stdout.isTTY
      ? `its first password, which is shown this once and to be changed: ${first.password}`
      : `its first password is in ${path.join(data, FIRST_PASSWORD_FILE)}, which goes with the first change`;
    lines.push(`The first user is "${first.name}", ${shown}`);
  }
  lines.push(`Sign in: ${sign_in}`, `Ask:     curl${insecure} ${url}/api/v3/alerts -H 'authorization: TOKEN'`);
  return `${lines.join('\n')}\nCtrl-C ends it.\n`;
}
