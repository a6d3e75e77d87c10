// Makes the checkout ready to run: dependencies from the lock file, generated code, build. What is up to date is not repeated.
// Runs before anything is installed, so it may use nothing but Node itself.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const inRoot = (...parts) => path.join(root, ...parts);
const quiet = process.env.CI === undefined;

export function prepare() {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < 20) fail(`Node.js 20 or newer is needed; this is ${process.version}.`);
  install();
  build();
  buildPcap();
}

function install() {
  const wanted = hashOf(['package.json', 'package-lock.json']);
  const stamp = inRoot('node_modules', '.ot-sensor-installed');
  if (read(stamp) === wanted) return;
  say(
    'installing dependencies (once; better-sqlite3 is compiled where no prebuilt binary can be had, which takes about a minute) …',
  );
  run('npm', ['ci', '--no-audit', '--no-fund', ...(quiet ? ['--loglevel=error'] : [])]);
  fs.writeFileSync(stamp, wanted);
}

function build() {
  const sources = ['src', 'dissectors', 'bench', 'fixtures', 'native-bindings']
    .flatMap((folder) => filesIn(inRoot(folder)))
    .filter((file) => /\.(ts|proto)$/.test(file));
  const wanted = hashOf(['package-lock.json', 'tsconfig.json', ...sources.map((file) => path.relative(root, file))]);
  const stamp = inRoot('dist', '.built');
  if (read(stamp) === wanted) return;
  say('building …');
  const bin = (name) => inRoot('node_modules', '.bin', name);
  const proto = (name) => inRoot('src', 'proto', name);
  if (newer(proto('facts.proto'), proto('facts.d.ts'))) {
    run(bin('pbjs'), [
      ...['--keep-case', '-t', 'static-module', '-w', 'es6', '--no-create', '--no-verify', '--no-delimited', '--no-service'],
      ...['-o', proto('facts.js'), proto('facts.proto')],
    ]);
    run(bin('pbts'), ['-o', proto('facts.d.ts'), proto('facts.js')]);
  }
  run(bin('tsc'), ['-p', inRoot('tsconfig.json')]);
  fs.mkdirSync(inRoot('dist', 'src', 'proto'), { recursive: true });
  fs.copyFileSync(proto('facts.js'), inRoot('dist', 'src', 'proto', 'facts.js'));
  fs.chmodSync(inRoot('dist', 'src', 'cli', 'main.js'), 0o755);
  fs.writeFileSync(stamp, wanted);
}

/**
 * The addon for live capture, where libpcap's headers and a compiler are. Its absence is said once and is never a failure: only live
 * capture needs it, and says so itself.
 */
function buildPcap() {
  const folder = inRoot('native-bindings', 'pcap');
  const built = path.join(folder, 'build', 'Release', 'pcap.node');
  const shipped = inRoot('dist', 'native-bindings', 'pcap', 'pcap.node');
  const stamp = inRoot('dist', '.pcap-built');
  const header = ['/usr/include', '/usr/local/include'].some((include) => fs.existsSync(path.join(include, 'pcap', 'pcap.h')));
  const sources = hashOf(['binding.gyp', 'pcap.cc'].map((file) => path.join('native-bindings', 'pcap', file)));
  const before = read(stamp);
  const there = fs.existsSync(built) && fs.existsSync(shipped);
  if (header ? before === `${sources} failed` || (before === sources && there) : before === 'no header') return;
  fs.rmSync(shipped, { force: true });
  if (!header) {
    say('libpcap has no headers here (Debian: libpcap-dev); live capture is not available, everything else is');
    fs.writeFileSync(stamp, 'no header');
    return;
  }
  say('building the addon for live capture …');
  // Node's own headers are taken from beside it where they are, so that nothing is downloaded.
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  const local = fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h')) ? ['--', `--nodedir=${prefix}`] : [];
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'build:pcap', ...local], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status === 0) fs.copyFileSync(built, shipped);
  else say(`the addon was not built; live capture is not available, everything else is:\n${stdout ?? ''}${stderr ?? ''}`);
  // What failed is tried again when the sources or Node change, or the stamp is deleted.
  fs.writeFileSync(stamp, status === 0 ? sources : `${sources} failed`);
}

/** Runs a program; its failure ends this one with the same exit code. */
export function run(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) fail(`${program} could not be started: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

function filesIn(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function hashOf(files) {
  const hash = createHash('sha256').update(process.version);
  for (const file of files)
    hash
      .update(file)
      .update('\0')
      .update(fs.readFileSync(inRoot(file)))
      .update('\0');
  return hash.digest('hex');
}

function newer(source, target) {
  return !fs.existsSync(target) || fs.statSync(source).mtimeMs > fs.statSync(target).mtimeMs;
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function say(text) {
  process.stderr.write(`ot-sensor: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(2);
}
