import path from 'node:path';
import type { Command } from 'commander';
import { Appliance } from '../appliance/appliance.ts';
import { log } from '../log.ts';
import { FIRST_PASSWORD_FILE } from '../users/first-user.ts';
import { version } from '../version.ts';
import { integer } from './arguments.ts';
import { dataOption } from './data.ts';

export const DEFAULT_PORT = 8443;

export function register(program: Command): void {
  program
    .command('serve')
    .description('serve the API over the data of a sensor, and watch its health, until SIGTERM')
    .addOption(dataOption())
    .option('--host <address>', 'address of the management interface', '127.0.0.1')
    .option('--port <n>', 'TCP port', integer(0, 65_535), DEFAULT_PORT)
    .option('--no-tls', 'plain HTTP, on a loopback address alone')
    .addHelpText(
      'after',
      `
Examples:
  $ ot-sensor serve --data /var/lib/ot-sensor --host 192.0.2.10
  $ ot-sensor serve --no-tls --port 8080`,
    )
    .action(serve);
}

interface ServeArguments {
  data: string;
  host: string;
  port: number;
  tls: boolean;
}

async function serve({ data, host, port, tls }: ServeArguments): Promise<void> {
  // The log reads its level when it is loaded with its first message.
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const appliance = await Appliance.start({ version: version(), directory: path.resolve(data), host, port, tls });
  log.info({ url: appliance.url }, 'the API is served');
  process.stdout.write(welcome(appliance, data));
  await stopped;
  await appliance.stop();
}

/** How to ask it. The first password is shown to people only: what a service prints ends up in a log. */
export function welcome({ url, first }: Pick<Appliance, 'url' | 'first'>, data: string): string {
  const insecure = url.startsWith('https') ? ' -k' : '';
  const sign_in = `curl${insecure} ${url}/api/v3/session -H 'content-type: application/json' -d '{"name":"admin","password":"…"}'`;
  const lines = [`The API is at ${url}, its description at ${url}/api/docs`];
  if (first !== null) {
    const shown = process.stdout.isTTY
      ? `its first password, which is shown this once and to be changed: ${first.password}`
      : `its first password is in ${path.join(data, FIRST_PASSWORD_FILE)}, which goes with the first change`;
    lines.push(`The first user is "${first.name}", ${shown}`);
  }
  lines.push(`Sign in: ${sign_in}`, `Ask:     curl${insecure} ${url}/api/v3/alerts -H 'authorization: TOKEN'`);
  return `${lines.join('\n')}\n`;
}
