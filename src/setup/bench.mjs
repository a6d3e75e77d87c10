// npm run bench: set up what is not, then measure and rewrite README's numbers; --quick for a glance.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { prepare, ROOT } from './prepare.mjs';

prepare();
const report = path.join(ROOT, 'dist/bench/report.js');
const { status } = spawnSync(process.execPath, [report, ...process.argv.slice(2)], { cwd: ROOT, stdio: 'inherit' });
process.exitCode = status ?? 1;
