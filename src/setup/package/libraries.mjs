// Shared libraries: those that every Debian has are declared, all others (libpcap, what it needs; libnode where Node is Debian's own) are
// carried in lib/ of the version's folder.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** By the Debian package that has them, which debootstrap's smallest system has. */
const ON_EVERY_DEBIAN = {
  libc6: /^(libc|libm|libdl|libpthread|librt|libresolv|ld-linux[\w-]*)\.so\.\d+$/,
  'libgcc-s1': /^libgcc_s\.so\.1$/,
  'libstdc++6': /^libstdc\+\+\.so\.6$/,
  libsystemd0: /^libsystemd\.so\.0$/,
  zlib1g: /^libz\.so\.1$/,
};

/** Returns the packages of the libraries that are not carried, sorted. Throws Error where one cannot be found. */
export function copyLibraries(folder) {
  const packages = new Set();
  const carried = path.join(folder, 'lib');
  const waiting = elfFiles(folder);
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    for (const name of neededBy(file)) {
      const known = Object.keys(ON_EVERY_DEBIAN).find((one) => ON_EVERY_DEBIAN[one].test(name));
      if (known !== undefined) {
        packages.add(known);
        continue;
      }
      const target = path.join(carried, name);
      if (fs.existsSync(target)) continue;
      const source = locate(name, file);
      fs.mkdirSync(carried, { recursive: true });
      fs.copyFileSync(source, target);
      fs.chmodSync(target, 0o644);
      copyLicense(source, folder);
      waiting.push(target);
    }
  }
  return [...packages].sort();
}

function elfFiles(folder) {
  const isElf = (file) => {
    const bytes = Buffer.alloc(4);
    const handle = fs.openSync(file);
    fs.readSync(handle, bytes);
    fs.closeSync(handle);
    return bytes.toString('latin1') === '\x7fELF';
  };
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .filter(isElf);
}

const neededBy = (file) =>
  run('objdump', ['-p', file])
    .split('\n')
    .flatMap((line) => /^\s+NEEDED\s+(\S+)/.exec(line)?.[1] ?? []);

/** The file that the loader of this machine would take. */
function locate(name, file) {
  const line = run('ldd', [file])
    .split('\n')
    .find((one) => one.trim().startsWith(`${name} =>`));
  const found = /=> (\/\S+)/.exec(line ?? '')?.[1];
  if (found === undefined) throw new Error(`${name}, which ${file} needs, is not on this machine`);
  return fs.realpathSync(found);
}

function copyLicense(library, folder) {
  const owner = ['', '/usr'].flatMap((prefix) => {
    const { status, stdout } = spawnSync('dpkg', ['-S', library.replace(/^(\/usr)?\//, `${prefix}/`)], { encoding: 'utf8' });
    return status === 0 ? [stdout.split(':')[0]] : [];
  })[0];
  const copyright = `/usr/share/doc/${owner}/copyright`;
  if (owner === undefined || !fs.existsSync(copyright)) throw new Error(`the license of ${library} is not on this machine`);
  fs.mkdirSync(path.join(folder, 'licenses'), { recursive: true });
  fs.copyFileSync(copyright, path.join(folder, `licenses/${owner}.txt`));
}

function run(program, args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  if (error) throw new Error(`${program} could not be started (Debian: binutils, libc-bin): ${error.message}`);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}
