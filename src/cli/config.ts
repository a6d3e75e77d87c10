import type { Command } from 'commander';
import { configReference } from '../config.ts';
import { loadConfig } from './run.ts';

export function register(program: Command): void {
  const config = program.command('config').description("the settings of ot-sensor run: their reference, and a file's faults");
  config
    .command('reference')
    .description('every setting with its default, its limits and its meaning: a settings file to begin with')
    .addHelpText('after', '\nExample:\n  $ ot-sensor config reference > /etc/ot-sensor/sensor.yaml')
    .action(() => void process.stdout.write(`${configReference()}\n`));
  config
    .command('check')
    .description('says every fault of a settings file with its place')
    .argument('<file>', 'settings (YAML)')
    .addHelpText('after', '\nExample:\n  $ ot-sensor config check /etc/ot-sensor/sensor.yaml')
    .action((file: string) => {
      const { capture } = loadConfig(file);
      process.stdout.write(`${file}: no faults; captures from ${capture.interfaces.map(({ name }) => name).join(', ')}\n`);
    });
}
