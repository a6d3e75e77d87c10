import fs from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';

test.skipIf(!fs.existsSync('/proc/thread-self/comm'))('a thread is named, and no other', async () => {
  const module = new URL('../dist/src/thread-name.js', import.meta.url).href;
  const names = () => fs.readdirSync('/proc/self/task').map((id) => fs.readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim());
  const before = names();
  const program = `import('${module}').then(({ nameThread }) => {
    nameThread('a-name-much-too-long');
    require('node:worker_threads').parentPort.once('message', () => {});
    require('node:worker_threads').parentPort.postMessage('named');
  });`;
  const worker = new Worker(program, { eval: true });
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  const added = names().filter((name) => name.startsWith('a-name'));
  await worker.terminate();
  expect(before.some((name) => name.startsWith('a-name'))).toBe(false);
  expect(added).toEqual(['a-name-much-too']);
});
