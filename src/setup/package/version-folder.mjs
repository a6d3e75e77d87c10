// What an appliance runs: a folder with all of one version, which needs nothing of the machine but libc, the C++ library and libsystemd.
// It is what the Debian package installs, and what an update can bring.
import fs from 'node:fs';
import path from 'node:path';
import { copyLibraries } from './libraries.mjs';

/** The program's own files: bundled code, addon, documents. */
const OWN = ['dist/program', 'native-bindings/pcap/build/Release/pcap.node', 'README.md', 'ARCHITECTURE.md'];
/** Of an npm package: what serves to build, to test or to explain it. */
const NOT_RUN = {
  folders: /^(\.github|benchmarks?|coverage|docs?|examples?|obj|obj\.target|\.deps|tests?|__tests__)$/,
  native_folders: /^(deps|src|prebuilds)$/,
  files:
    /\.(map|[cm]?ts|a|o|d|c|cc|cpp|h|gyp|gypi|md|markdown|mk|patch|sh|ya?ml|tsbuildinfo)$|^(Makefile|\..*|test_extension\.node)$/,
};
const LICENSE = /^(licen[cs]e|copying|notice|copyright)/i;

/**
 * Makes the folder anew. `version`: another one than package.json's, for tests of upgrades. Returns the version and the libraries that
 * it takes from the machine. Throws Error where something that belongs in it is not there.
 */
export function makeVersionFolder({ root, folder, version }) {
  const manifest = readJson(path.join(root, 'package.json'));
  const release = version ?? manifest.version;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, 'bin'), { recursive: true });
  for (const name of OWN) copy(path.join(root, name), path.join(folder, name));
  const { name, description, license, type } = manifest;
  write(folder, 'package.json', `${JSON.stringify({ name, version: release, description, license, type }, null, 2)}\n`);
  write(folder, 'bin/ot-sensor', WRAPPER, 0o755);
  copy(fs.realpathSync(process.execPath), path.join(folder, 'bin/node'));
  const packages = packagesFrom(root, externalsOf(path.join(folder, 'dist/program'), manifest));
  for (const one of packages) copyPackage(path.join(root, one), path.join(folder, one));
  const from_system = copyLibraries(folder);
  writeLicenses(root, folder);
  return { version: release, from_system };
}

/** Finds its folder through links, and the libraries that are carried in it. */
const WRAPPER = `#!/bin/sh
here=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH="$here/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$here/bin/node" "$here/dist/program/main.js" "$@"
`;

/** The dependencies that the bundle leaves outside, because they find files of their own beside themselves. */
export function externalsOf(program, { dependencies, optionalDependencies }) {
  const known = Object.keys({ ...dependencies, ...optionalDependencies });
  const found = new Set();
  for (const name of fs.readdirSync(program)) {
    const code = fs
      .readFileSync(path.join(program, name), 'utf8')
      .split('\n')
      .filter((line) => !/^\s*(\*|\/\/)/.test(line))
      .join('\n');
    for (const [, wanted] of code.matchAll(/\b(?:from|import|require|resolve|\(import\.meta\.url\))\s*\(?\s*"([^"]+)"/g)) {
      const external = known.find((one) => wanted === one || wanted.startsWith(`${one}/`));
      if (external !== undefined) found.add(external);
    }
  }
  return [...found].sort();
}

/** Their folders and those of all they depend on, found as Node finds them. Optional ones that are not installed are left out. */
export function packagesFrom(root, names) {
  const found = new Set();
  const add = (name, from, optional) => {
    for (let folder = from; ; folder = path.dirname(folder)) {
      const candidate = path.join(folder, 'node_modules', name);
      const relative = path.relative(root, candidate);
      if (relative.startsWith('..')) break;
      if (!fs.existsSync(path.join(root, relative, 'package.json'))) continue;
      if (found.has(relative)) return;
      found.add(relative);
      const { dependencies, optionalDependencies } = readJson(path.join(candidate, 'package.json'));
      for (const one of Object.keys(optionalDependencies ?? {})) add(one, candidate, true);
      for (const one of Object.keys(dependencies ?? {})) add(one, candidate, one in (optionalDependencies ?? {}));
      return;
    }
    if (!optional) throw new Error(`${name}, which ${path.relative(root, from) || 'the program'} needs, is not installed`);
  };
  for (const name of names) add(name, root, false);
  return [...found].sort();
}

function copyPackage(from, to) {
  const native = fs.existsSync(path.join(from, 'binding.gyp'));
  const built = fs.existsSync(path.join(from, 'build/Release'));
  if (native && !built) throw new Error(`${from} has not been built`);
  const filter = (source) => {
    const relative = path.relative(from, source);
    const name = path.basename(source);
    if (relative === '') return true;
    if (name === 'node_modules') return false;
    if (!fs.statSync(source).isDirectory()) return LICENSE.test(name) || !NOT_RUN.files.test(name);
    const top = !relative.includes(path.sep) || relative.startsWith(`build${path.sep}`) || /obj\.target|\.deps/.test(name);
    return !(top && NOT_RUN.folders.test(name)) && !(native && top && NOT_RUN.native_folders.test(name));
  };
  fs.cpSync(from, to, { recursive: true, filter, dereference: true });
  removeEmpty(to);
}

function removeEmpty(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(path.join(folder, entry.name));
  if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}

/** Node's license, and those of all npm packages that are in the folder or in the bundle. The libraries' lie there already. */
function writeLicenses(root, folder) {
  const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  const places = [`${prefix}/LICENSE`, `${prefix}/share/doc/nodejs/LICENSE`, `${prefix}/share/doc/nodejs/copyright`];
  const license = places.find((file) => fs.existsSync(file));
  if (license === undefined) throw new Error(`the license of Node.js is in none of ${places.join(', ')}`);
  copy(license, path.join(folder, 'licenses/node.txt'));
  const { packages } = readJson(path.join(root, 'package-lock.json'));
  const texts = Object.entries(packages)
    .filter(([place, { dev }]) => place !== '' && !dev && fs.existsSync(path.join(root, place)))
    .map(([place, { version, license }]) => {
      const files = fs
        .readdirSync(path.join(root, place))
        .filter((name) => LICENSE.test(name) && /^[^.]*(\.(txt|md))?$/.test(name));
      const text = files.sort().map((name) => fs.readFileSync(path.join(root, place, name), 'utf8').trim());
      const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return `${name} ${version}\nLicense: ${license ?? 'see below'}\n\n${text.join('\n\n')}\n`;
    });
  write(folder, 'licenses/npm.txt', texts.join(`\n${'-'.repeat(78)}\n\n`));
}

function copy(from, to) {
  if (!fs.existsSync(from))
    throw new Error(`${from} is not there: npm run build makes it; the addon needs libpcap-dev and a compiler`);
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.cpSync(from, to, { recursive: true, dereference: true });
}

function write(folder, name, text, mode = 0o644) {
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text, { mode });
}

const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));
