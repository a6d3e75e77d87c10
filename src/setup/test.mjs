// npm test: set up what is not, then run every test; arguments go to vitest.
import { prepare, root, run } from './prepare.mjs';

prepare();
run(process.execPath, [`${root}/node_modules/vitest/vitest.mjs`, 'run', ...process.argv.slice(2)]);
