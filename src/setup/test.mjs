// npm test: set up what is not, then run every test; arguments go to vitest. The last line is plain: N passed, N failed, N skipped.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { prepare, ROOT } from './prepare.mjs';

prepare();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-test-'));
const report = path.join(folder, 'report.json');
const args = process.argv.slice(2);
const reporters = args.some((arg) => arg.startsWith('--reporter')) ? [] : ['--reporter=default'];
try {
  const { status } = spawnSync(
    process.execPath,
    [
      path.join(ROOT, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...reporters,
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...args,
    ],
    { cwd: ROOT, stdio: 'inherit' },
  );
  process.exitCode = status ?? 1;
  if (fs.existsSync(report)) process.stdout.write(`${summary(JSON.parse(fs.readFileSync(report, 'utf8')))}\n`);
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}

/** A file that could not even be loaded holds no test that failed; it is one failure. */
function summary({ numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults }) {
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  return `${numPassedTests} passed, ${numFailedTests + broken.length} failed, ${numPendingTests + numTodoTests} skipped`;
}
