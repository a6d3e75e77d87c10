import fs from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { SECTIONS } from '../appliance/sections.ts';
import type { SettingsSection } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import { integer } from './arguments.ts';
import { dataOption, timeText } from './data.ts';
import { managed, note } from './managed.ts';
import { type Format, format, printRows } from './table.ts';

/** The managed settings, by the same words as the API. */
export function register(program: Command): void {
  const settings = program
    .command('settings')
    .description('settings that hold at once: those of the API, not of the file of `run`');
  settings.command('list', { isDefault: true }).description('the sections there are').addOption(dataOption()).action(list);
  settings
    .command('show')
    .argument('<section>', SECTIONS.map((one) => one.name).join(', '), sectionOf)
    .description('as JSON; (set) stands for a secret')
    .option('--version <n>', 'a former version', integer(0, 1e9))
    .addOption(dataOption())
    .action(show);
  settings
    .command('set')
    .argument('<section>', SECTIONS.map((one) => one.name).join(', '), sectionOf)
    .argument('<file>', 'JSON; - is standard input')
    .description('replace all of a section; what is left out gets its default, (set) keeps a secret')
    .addOption(dataOption())
    .addHelpText(
      'after',
      '\nExample:\n  $ ot-sensor settings show access > access.json && ot-sensor settings set access access.json',
    )
    .action(set);
  settings
    .command('versions')
    .argument('<section>', SECTIONS.map((one) => one.name).join(', '), sectionOf)
    .description('the versions of a section that are kept, the newest first')
    .addOption(dataOption())
    .addOption(format())
    .action(versions);
  settings
    .command('reference')
    .argument('<section>', SECTIONS.map((one) => one.name).join(', '), sectionOf)
    .description('what can be set, as a JSON schema with defaults')
    .action((section: SettingsSection) => void process.stdout.write(`${JSON.stringify(section.schema, null, 2)}\n`));
}

function sectionOf(name: string): SettingsSection {
  const section = SECTIONS.find((one) => one.name === name);
  if (section === undefined) throw new InvalidArgumentError(`There are ${SECTIONS.map((one) => one.name).join(', ')}.`);
  return section;
}

async function list({ data }: { data: string }): Promise<void> {
  const rows = await managed(data, ({ settings }) =>
    SECTIONS.map((section) => {
      const { version, changed_ms, changed_by } = settings.read(section);
      return {
        section: section.name,
        version,
        changed: version === 0 ? 'never' : timeText(changed_ms),
        changed_by,
        description: section.description,
      };
    }),
  );
  await printRows(rows, 'table');
}

async function versions(section: SettingsSection, { data, format }: { data: string; format: Format }): Promise<void> {
  const rows = await managed(data, ({ settings }) => settings.versions(section));
  await printRows(
    format === 'table' ? rows.map(({ changed_ms, ...row }) => ({ ...row, changed: timeText(changed_ms) })) : rows,
    format,
  );
}

async function show(section: SettingsSection, { data, version }: { data: string; version?: number }): Promise<void> {
  const { value } = await managed(data, ({ settings }) => settings.show(section, version));
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

async function set(section: SettingsSection, file: string, { data }: { data: string }): Promise<void> {
  let value: unknown;
  try {
    value = JSON.parse(fs.readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (error) {
    throw new OperatingError('settings', `${file} is no JSON: ${(error as Error).message}`);
  }
  await managed(data, ({ settings, audit }) => {
    const { version } = settings.write(section, value, 'root', Date.now());
    note(audit, 'settings.change', section.name, { version });
  });
}
