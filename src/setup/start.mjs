// npm start: set up what is not, replay the captures named (the plant capture of the fixtures where none is), print what was found, and
// serve the API until Ctrl-C; with --exit, or where the summary is for a program (--format), it ends there.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { PROGRAM, prepare, ROOT } from './prepare.mjs';

/** Options of `replay` that take a value, which is not a capture file. */
const WITH_VALUE = ['--data', '--zones', '--shards', '--speed', '--format'];

prepare();
const args = process.argv.slice(2);
const given = (option) => args.some((arg) => arg === option || arg.startsWith(`${option}=`));
const files = args.some((arg, i) => (arg === '-' || !arg.startsWith('-')) && !WITH_VALUE.includes(args[i - 1]));
const fixture = (name) => path.join(ROOT, 'fixtures', name);
const plant = [fixture('plant.pcap'), ...(given('--zones') ? [] : ['--zones', fixture('plant.zones.yaml')])];
// A relative path means the folder the user stands in; npm has changed to the checkout.
process.chdir(process.env.INIT_CWD ?? process.cwd());
const program = path.join(ROOT, PROGRAM);
const help = given('--help') || given('-h');
const serve = help || given('--exit') || given('--format') ? [] : ['--serve'];
process.argv = [process.execPath, program, 'replay', ...(files || help ? [] : plant), ...serve, ...args];
// In this process, so that Ctrl-C and the exit code are the program's own.
await import(pathToFileURL(program).href);
