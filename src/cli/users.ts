import fs from 'node:fs';
import { type Command, Option } from 'commander';
import { OperatingError } from '../errors.ts';
import { randomPassword } from '../users/passwords.ts';
import { ROLES, type Role } from '../users/permissions.ts';
import { ROOT } from '../users/users.ts';
import { integer } from './arguments.ts';
import { dataOption, time, timeText } from './data.ts';
import { managed } from './managed.ts';
import { type Format, format, printRows } from './table.ts';

interface Arguments {
  data: string;
  format: Format;
  role: Role;
  passwordFile?: string;
  enable?: boolean;
  disable?: boolean;
  user: string;
  expires?: number;
}

/** On the appliance, for whoever may write its data directory: the way back in needs nobody else. */
export function register(program: Command): void {
  const users = program.command('users').description('users of the API, their passwords and tokens');
  const role = (standing?: Role) => {
    const option = new Option('--role <role>', ROLES.join(', ')).choices([...ROLES]);
    return standing === undefined ? option : option.default(standing);
  };
  const passwordFile = () =>
    new Option(
      '--password-file <file>',
      'its first line is the password (- reads standard input); one is made up where left out',
    );
  const command = (words: string, description: string) => users.command(words).description(description).addOption(dataOption());

  command('list', 'all users').addOption(format()).action(list);
  command('create <name>', 'make a user, who sets a new password at the first sign-in')
    .addOption(role('read_only'))
    .addOption(passwordFile())
    .action(create);
  command('reset-password <name>', 'set a new password, and take off a lock').addOption(passwordFile()).action(resetPassword);
  command('change <name>', 'change the role, disable or enable')
    .addOption(role())
    .addOption(new Option('--enable', 'may sign in again').conflicts('disable'))
    .option('--disable', 'may not sign in, and tokens are worth nothing')
    .action(change);
  command('delete <name>', 'delete a user, with tokens and sessions').action((name, { data }: Arguments) =>
    managed(data, ({ users }) => users.delete(name, ROOT)),
  );
  const tokens = users.command('tokens').description('tokens for programs');
  tokens.command('list').description('all tokens').addOption(dataOption()).addOption(format()).action(listTokens);
  tokens
    .command('create <name>')
    .description('make a token; it is shown this once')
    .addOption(dataOption())
    .requiredOption('--user <name>', 'whose it is')
    .addOption(role())
    .option('--expires <time>', 'worth nothing from then on (ISO 8601)', time)
    .action(createToken);
  tokens
    .command('delete')
    .argument('<id>', 'its number', integer(1, Number.MAX_SAFE_INTEGER))
    .description('take a token back')
    .addOption(dataOption())
    .action((id: number, { data }: Arguments) => managed(data, ({ tokens }) => tokens.delete(id, ROOT)));
  users.addHelpText(
    'after',
    `
Examples:
  $ ot-sensor users create anna --role analyst
  $ sudo -u ot-sensor ot-sensor users reset-password admin --data /var/lib/ot-sensor
  $ ot-sensor users tokens create siem --user anna --role read_only`,
  );
}

async function list({ data, format }: Arguments): Promise<void> {
  const rows = await managed(data, ({ users }) => users.list());
  const shown = ({ created_ms, password_changed_ms, last_sign_in_ms, ...row }: (typeof rows)[number]) => ({
    ...row,
    created: timeText(created_ms),
    password_changed: timeText(password_changed_ms),
    last_sign_in: last_sign_in_ms === null ? '' : timeText(last_sign_in_ms),
  });
  await printRows(format === 'table' ? rows.map(shown) : rows, format);
}

/** The password, and whether it was made up and so has to be shown. */
function passwordOf(file: string | undefined): { password: string; made_up: boolean } {
  if (file === undefined) return { password: randomPassword(), made_up: true };
  const [password] = fs.readFileSync(file === '-' ? 0 : file, 'utf8').split(/\r?\n/, 1);
  return { password, made_up: false };
}

const shown = (name: string, { password, made_up }: { password: string; made_up: boolean }) =>
  made_up ? `The password of ${name}, shown this once and to be changed: ${password}\n` : '';

async function create(name: string, { data, role, passwordFile }: Arguments): Promise<void> {
  const password = passwordOf(passwordFile);
  await managed(data, ({ users }) => users.create({ name, role, password: password.password, must_change_password: true }, ROOT));
  process.stdout.write(shown(name, password));
}

async function resetPassword(name: string, { data, passwordFile }: Arguments): Promise<void> {
  const password = passwordOf(passwordFile);
  await managed(data, ({ users }) => users.resetPassword(name, password.password, ROOT));
  process.stdout.write(shown(name, password));
}

async function change(name: string, { data, role, enable, disable }: Arguments): Promise<void> {
  const enabled = enable === true ? true : disable === true ? false : undefined;
  if (role === undefined && enabled === undefined)
    throw new OperatingError('usage', 'nothing to change: --role, --enable or --disable');
  await managed(data, ({ users }) => users.change(name, { role, enabled }, ROOT));
}

async function listTokens({ data, format }: Arguments): Promise<void> {
  const rows = await managed(data, ({ tokens }) => tokens.list());
  const text = (ms: number | null, none: string) => (ms === null ? none : timeText(ms));
  const shown = ({ created_ms, expires_ms, last_used_ms, ...row }: (typeof rows)[number]) => ({
    ...row,
    created: timeText(created_ms),
    expires: text(expires_ms, 'never'),
    last_used: text(last_used_ms, 'never'),
  });
  await printRows(format === 'table' ? rows.map(shown) : rows, format);
}

async function createToken(name: string, { data, user, role, expires }: Arguments): Promise<void> {
  const { secret } = await managed(data, ({ users, tokens }) => {
    const owner = users.get(user);
    return tokens.create({ name, user_id: owner.id, role: role ?? owner.role, expires_ms: expires ?? null }, ROOT);
  });
  process.stdout.write(`${secret}\n`);
}
