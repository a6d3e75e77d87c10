// Makes the checkout ready to run: dependencies from the lock file, generated code, build. What is up to date is not repeated.
// Runs before anything is installed, so it may use nothing but Node itself.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const OLDEST_NODE = 20;
/** Code and types are made from each, beside it, where the type checker and the tests look for them. */
const SCHEMAS = ['src/proto/facts.proto', 'src/proto/api.proto'];
const codeOf = (proto) => proto.replace(/proto$/, 'js');
const typesOf = (proto) => proto.replace(/proto$/, 'd.ts');
const GENERATED = SCHEMAS.flatMap((proto) => [codeOf(proto), typesOf(proto)]);
const SOURCE_FOLDERS = ['src', 'dissectors', 'bench', 'fixtures', 'native-bindings'];
const BUILD_CONFIGURATION = [
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'src/setup/prepare.mjs',
  'src/setup/bundle.mjs',
];
export const PROGRAM = 'dist/program/main.js';
const BUNDLE = fileURLToPath(new URL('bundle.mjs', import.meta.url));
/** In the folder of node_modules and of the build: what they were made from. Not there while they are being made. */
const INSTALLED = 'node_modules/.ot-sensor-installed';
const BUILT = 'dist/.built.json';
const LOCK = 'dist/.lock';
/** npx finds the program of this checkout here, and asks no registry. */
const LINK = 'node_modules/.bin/ot-sensor';
const ADDON = 'native-bindings/pcap';
const ADDON_SOURCES = ['binding.gyp', 'pcap.cc'].map((file) => `${ADDON}/${file}`);
/** What the addon was built from and what came of it: its name, or why it is not there. */
const ADDON_BUILT = `${ADDON}/build/.built`;
const PCAP_HEADERS = ['/usr/include/pcap/pcap.h', '/usr/local/include/pcap/pcap.h'];

/** Ends the process with a message and a code other than 0 where something cannot be made. */
export function prepare(root = ROOT) {
  const [major] = process.versions.node.split('.').map(Number);
  if (major < OLDEST_NODE) fail(`Node.js ${OLDEST_NODE} or newer is needed; this is ${process.version}`);
  const setup = new Setup(root);
  if (setup.ready()) return;
  fs.mkdirSync(setup.path('dist'), { recursive: true });
  const unlock = lock(setup.path(LOCK));
  try {
    // Another process may have done it while we waited for the lock.
    if (!setup.installed()) setup.install();
    if (!setup.built()) setup.build();
    setup.link();
    if (!setup.addonSettled()) setup.buildAddon();
  } finally {
    unlock();
  }
}

class Setup {
  constructor(root) {
    this.root = root;
  }

  path(name) {
    return path.join(this.root, name);
  }

  ready() {
    return this.installed() && this.built() && fs.existsSync(this.path(LINK)) && this.addonSettled();
  }

  installed() {
    return read(this.path(INSTALLED)) === this.dependencies();
  }

  /** Scripts and descriptions in package.json are no reason to install again. */
  dependencies() {
    const { dependencies, devDependencies, optionalDependencies } = JSON.parse(read(this.path('package.json')));
    return hashOf([JSON.stringify([dependencies, devDependencies, optionalDependencies]), read(this.path('package-lock.json'))]);
  }

  install() {
    say('installing dependencies (once; better-sqlite3 is compiled where no prebuilt binary can be had, in about a minute) …');
    const wanted = this.dependencies();
    this.run('npm', ['ci', '--no-audit', '--no-fund', ...(process.env.CI === undefined ? ['--loglevel=error'] : [])], 'npm ci');
    fs.writeFileSync(this.path(INSTALLED), wanted);
  }

  /** What the build is made of: hashes of the files' names, and of what is in them. */
  sources() {
    const files = SOURCE_FOLDERS.flatMap((folder) => filesIn(this.path(folder)))
      .map((file) => path.relative(this.root, file))
      .filter((file) => /\.(ts|proto)$/.test(file) && !GENERATED.includes(file))
      .sort();
    const all = [...BUILD_CONFIGURATION, ...files];
    return { names: hashOf(all), content: hashOf(all.map((file) => `${file}\0${read(this.path(file))}`)) };
  }

  built() {
    const stamp = read(this.path(BUILT));
    const present = [PROGRAM, ...GENERATED].every((file) => fs.existsSync(this.path(file)));
    return stamp !== null && present && stamp === JSON.stringify(this.sources());
  }

  build() {
    say('building …');
    const wanted = this.sources();
    const before = read(this.path(BUILT));
    // A build that fails, or is killed, must not look finished; and it is not known what it left.
    fs.rmSync(this.path(BUILT), { force: true });
    const incremental = before !== null && JSON.parse(before).names === wanted.names && fs.existsSync(this.path(PROGRAM));
    // What was made of sources that are gone must not stay.
    if (!incremental) this.clear();
    this.generate();
    this.run(process.execPath, [this.path('node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], 'the build (tsc)');
    fs.mkdirSync(this.path('dist/src/proto'), { recursive: true });
    for (const proto of SCHEMAS) fs.copyFileSync(this.path(codeOf(proto)), this.path(`dist/${codeOf(proto)}`));
    this.run(process.execPath, [BUNDLE, this.root], 'the bundle (rolldown)');
    fs.writeFileSync(this.path(BUILT), JSON.stringify(wanted));
  }

  clear() {
    for (const name of fs.readdirSync(this.path('dist')))
      if (name !== path.basename(LOCK)) fs.rmSync(this.path(`dist/${name}`), { recursive: true, force: true });
  }

  generate() {
    const bin = (name) => this.path(`node_modules/protobufjs-cli/bin/${name}`);
    const target = ['-t', 'static-module', '-w', 'es6'];
    const left_out = ['--no-create', '--no-verify', '--no-delimited', '--no-service'];
    for (const proto of SCHEMAS) {
      const [code, types] = [codeOf(proto), typesOf(proto)];
      if ([code, types].every((file) => this.newer(file, proto))) continue;
      // A root of its own: they share a package, and must not stand in each other's way.
      const root = ['-r', path.basename(proto, '.proto')];
      this.run(process.execPath, [bin('pbjs'), '--keep-case', ...target, ...root, ...left_out, '-o', code, proto], 'pbjs');
      this.run(process.execPath, [bin('pbts'), '-o', types, code], 'pbts');
    }
  }

  newer(file, source) {
    const [made, from] = [file, source].map((name) => fs.statSync(this.path(name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
    return made > 0 && made >= from;
  }

  link() {
    fs.mkdirSync(path.dirname(this.path(LINK)), { recursive: true });
    fs.rmSync(this.path(LINK), { force: true });
    fs.symlinkSync(path.relative(path.dirname(LINK), PROGRAM), this.path(LINK));
  }

  /** It is built; or it cannot be, which has been said and need not be tried again. */
  addonSettled() {
    if (!fs.existsSync(this.path(ADDON_SOURCES[0]))) return true;
    const stamp = read(this.path(ADDON_BUILT));
    if (stamp === this.addon('built')) return fs.existsSync(this.path(`${ADDON}/build/Release/pcap.node`));
    return stamp === this.addon('failed');
  }

  addon(outcome) {
    const headers = PCAP_HEADERS.some((file) => fs.existsSync(file));
    return `${hashOf([headers, ...ADDON_SOURCES.map((file) => read(this.path(file)))])} ${outcome}`;
  }

  /** Only live capture needs the addon, and says so itself: that it cannot be built is no failure. */
  buildAddon() {
    let outcome = 'failed';
    if (!PCAP_HEADERS.some((file) => fs.existsSync(file))) {
      say('the headers of libpcap are not here (Debian: libpcap-dev): all but live capture will work');
    } else {
      // Node's own headers are taken from beside it where they are, so that nothing need be downloaded.
      const prefix = path.resolve(path.dirname(process.execPath), '..');
      const nodedir = fs.existsSync(path.join(prefix, 'include/node/node_api.h')) ? ['--', `--nodedir=${prefix}`] : [];
      const options = { cwd: this.root, encoding: 'utf8' };
      const { status, error, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'build:pcap', ...nodedir], options);
      if (status === 0) outcome = 'built';
      else say(`the addon for live capture was not built: all else will work. ${error?.message ?? `${stdout}${stderr}`}`);
    }
    fs.mkdirSync(path.dirname(this.path(ADDON_BUILT)), { recursive: true });
    fs.writeFileSync(this.path(ADDON_BUILT), this.addon(outcome));
  }

  /** Runs a program in the checkout; its failure ends this one with the same exit code. */
  run(program, args, what) {
    const { status, signal, error } = spawnSync(program, args, { cwd: this.root, stdio: ['inherit', 2, 'inherit'] });
    if (error) fail(`${what} could not be started: ${error.message}`);
    if (status !== 0) fail(`${what} failed (${signal ?? `exit code ${status}`}); why is said above`, status ?? 1);
  }
}

/** A lock that is older than any set-up takes was left behind by a process that was killed, as was one whose process is gone. */
const OLDEST_LOCK_MS = 15 * 60_000;

/** Waits until no other process sets this checkout up. The lock goes with the process, whichever way it ends in order. */
function lock(file) {
  for (let told = false; ; ) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (abandoned(file)) {
      // Only one of those who wait can rename it.
      const aside = `${file}.${process.pid}`;
      try {
        fs.renameSync(file, aside);
        fs.rmSync(aside);
      } catch (error) {
        if (error.code !== 'ENOENT') throw error;
      }
      continue;
    }
    if (!told) say('another process sets this checkout up; waiting for it …');
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  const unlock = () => {
    if (read(file) === String(process.pid)) fs.rmSync(file, { force: true });
  };
  process.once('exit', unlock);
  return unlock;
}

function abandoned(file) {
  const owner = Number(read(file) ?? 0);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (Date.now() - stat.mtimeMs > OLDEST_LOCK_MS) return true;
  // Made a moment ago, and nothing written yet.
  if (owner === 0) return Date.now() - stat.mtimeMs > 5000;
  try {
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

function filesIn(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

/** With Node's version, whose native modules do not fit another. */
function hashOf(texts) {
  const hash = createHash('sha256').update(process.version);
  for (const text of texts) hash.update('\0').update(String(text));
  return hash.digest('hex');
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

function fail(text, code = 2) {
  say(text);
  process.exit(code);
}
