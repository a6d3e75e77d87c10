// Makes the program that is run, dist/program/, of what the compiler made: one file a thread instead of some two hundred, which saves a
// sixth of the time of a start. Commands and what few runs need stay files of their own, loaded when they are wanted.
import fs from 'node:fs';
import path from 'node:path';
import { rolldown } from 'rolldown';

/** How a file names the one that a thread of its own runs: it lies beside it, before and after. */
const THREAD = /new URL\('\.\/([\w-]+\.js)', import\.meta\.url\)/g;
/** These find files of their own beside themselves. */
const NOT_BUNDLED = [/^better-sqlite3/, /^oui-data/, /^pino/, /^piscina/, /^argon2/, /^@fastify\/swagger-ui/, /^ssh2/];

const [root] = process.argv.slice(2);
const dist = path.join(root, 'dist');
const program = path.join(dist, 'program');
const input = { main: path.join(dist, 'src/cli/main.js') };
for (const entry of fs.readdirSync(path.join(dist, 'src'), { recursive: true })) {
  const file = path.join(dist, 'src', entry);
  if (!file.endsWith('.js') || /\.test\.js$|\/testing\.js$/.test(file)) continue;
  for (const [, name] of fs.readFileSync(file, 'utf8').matchAll(THREAD)) {
    const thread = path.join(path.dirname(file), name);
    const known = input[path.basename(name, '.js')];
    if (known !== undefined && known !== thread)
      throw new Error(`two threads run files of the name ${name}: ${known} and ${thread}`);
    input[path.basename(name, '.js')] = thread;
  }
}
const bundle = await rolldown({ input, platform: 'node', external: NOT_BUNDLED, logLevel: 'warn' });
fs.rmSync(program, { recursive: true, force: true });
await bundle.write({ dir: program, format: 'esm', chunkFileNames: '[name].js', minify: false });
fs.chmodSync(path.join(program, 'main.js'), 0o755);
