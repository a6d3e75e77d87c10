import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { OperatingError } from '../errors.ts';

const run = promisify(execFile);
/** A service that ends at once is started again by systemd after two seconds. */
const STEADY_MS = 5000;

/** systemd's units that are stopped and started around an update, and looked at afterwards. Without any, nothing is done. */
export class Units {
  private readonly names: readonly string[];
  private readonly steady_ms: number;
  /** Those that ran before: only they are expected to run afterwards. */
  private running: string[] | null = null;

  constructor(names: readonly string[], steady_ms = STEADY_MS) {
    this.names = names;
    this.steady_ms = steady_ms;
  }

  async stop(): Promise<void> {
    if (this.names.length === 0) return;
    this.running ??= (await this.show()).filter(({ state }) => state === 'active').map(({ name }) => name);
    await run('systemctl', ['stop', ...this.names]);
  }

  async start(): Promise<void> {
    if (this.names.length > 0) await run('systemctl', ['start', ...this.names]);
  }

  /** What ran before has to run again, and to stay. Throws OperatingError `update`. */
  async probe(): Promise<void> {
    const wanted = this.running ?? [];
    if (wanted.length === 0) return;
    const before = await this.show();
    await new Promise((resolve) => setTimeout(resolve, this.steady_ms));
    const after = await this.show();
    for (const name of wanted) {
      const [first, last] = [before, after].map((units) => units.find((unit) => unit.name === name));
      if (last?.state !== 'active' || last.pid !== first?.pid)
        throw new OperatingError('update', `${name} does not stay up with it: see journalctl --unit ${name}`);
    }
  }

  private async show(): Promise<{ name: string; state: string; pid: string }[]> {
    const shown = this.names.map(async (name) => {
      const { stdout } = await run('systemctl', ['show', '--property=ActiveState', '--property=MainPID', name]);
      const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(stdout)?.[1] ?? '';
      return { name, state: value('ActiveState'), pid: value('MainPID') };
    });
    return Promise.all(shown);
  }
}
