// npm start: set up what is not, then replay the captures named (the plant capture of the fixtures where none is) and print what was found.
import { prepare, root, run } from './prepare.mjs';

prepare();
const args = process.argv.slice(2);
const files = args.some((arg) => !arg.startsWith('-'));
const plant = ['fixtures/plant.pcap', '--zones', 'fixtures/plant.zones.yaml'];
const command = ['replay', ...(files ? [] : plant), ...args.filter((arg) => arg !== '--exit')];
// A relative path means the folder the user stands in.
run(process.execPath, [`${root}/dist/src/cli/main.js`, ...command], {
  cwd: files ? (process.env.INIT_CWD ?? process.cwd()) : root,
});
