// A Debian package of a version's folder. It carries the folder at a place of its own; the installation script links it, file by file, to
// versions/<version>, where versions that came by an update lie too: so dpkg takes none away that one may want to go back to.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeVersionFolder } from './version-folder.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const CARRIED = 'opt/ot-sensor/package';
const SCRIPTS = ['preinst', 'postinst', 'prerm', 'postrm'];
const UNITS = ['ot-sensor.service', 'ot-sensor-api.service', 'ot-sensor-update.path', 'ot-sensor-update.service'];
const CONFFILES = ['/etc/default/ot-sensor'];
/** Of files whose age nobody knows: the same always, so that the same input gives the same package. */
const UNKNOWN_AGE_S = 1_577_836_800;

/**
 * Writes `<out>/ot-sensor_<version>_<architecture>.deb` and returns its path. `compression`: of dpkg-deb (-Z and -z). No root is needed.
 * Throws Error.
 */
export function makeDebianPackage({ root, out, version, compression = ['-Zxz', '-z6'] }) {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-package-'));
  try {
    const made = makeVersionFolder({ root, folder: path.join(work, CARRIED), version });
    const architecture = run('dpkg', ['--print-architecture']).trim();
    // Semantic Versioning's "-rc.1" comes before the release; Debian's sign for that is "~".
    const debian_version = made.version.replaceAll('-', '~');
    place(work, 'etc/default/ot-sensor', path.join(HERE, 'default'));
    for (const unit of UNITS) place(work, `lib/systemd/system/${unit}`, path.join(root, 'src/setup', unit));
    fs.mkdirSync(path.join(work, 'usr/bin'), { recursive: true });
    fs.symlinkSync('/opt/ot-sensor/current/bin/ot-sensor', path.join(work, 'usr/bin/ot-sensor'));
    place(work, 'usr/share/doc/ot-sensor/copyright', path.join(HERE, 'copyright'));
    for (const script of SCRIPTS) {
      const text = fs.readFileSync(path.join(HERE, script), 'utf8');
      put(work, `DEBIAN/${script}`, text.replaceAll('@VERSION@', made.version).replaceAll('@DEBIAN_VERSION@', debian_version));
    }
    settleModes(work);
    for (const script of SCRIPTS) fs.chmodSync(path.join(work, 'DEBIAN', script), 0o755);
    put(work, 'DEBIAN/conffiles', `${CONFFILES.join('\n')}\n`);
    put(work, 'DEBIAN/md5sums', sums(work));
    put(work, 'DEBIAN/control', control(work, { ...made, version: debian_version, architecture }));
    const age = Number(process.env.SOURCE_DATE_EPOCH ?? UNKNOWN_AGE_S);
    settleAges(work, age);
    fs.mkdirSync(out, { recursive: true });
    const file = path.join(out, `ot-sensor_${debian_version}_${architecture}.deb`);
    // One thread: how many there are would decide where xz begins a new block.
    const options = ['--root-owner-group', '--threads-max=1', ...compression];
    run('dpkg-deb', [...options, '--build', work, file], { SOURCE_DATE_EPOCH: String(age) });
    return file;
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

function control(work, { version, architecture, from_system }) {
  const bytes = filesIn(work).reduce((sum, file) => sum + fs.lstatSync(file).size, 0);
  // What was built here may need what this libc has.
  const { glibcVersionRuntime: glibc } = process.report.getReport().header;
  const libraries = from_system.map((name) => (name === 'libc6' && glibc ? `libc6 (>= ${glibc})` : name));
  return `Package: ot-sensor
Version: ${version}
Architecture: ${architecture}
Maintainer: ot-sensor <ot-sensor@localhost>
Installed-Size: ${Math.ceil(bytes / 1024)}
Depends: ${[...libraries, 'passwd', 'init-system-helpers (>= 1.54)'].join(', ')}
Section: net
Priority: optional
Description: passive OT traffic sensor
 Listens to the mirror ports of an industrial network, and says which
 devices there are, who talks to whom and what crosses the zones. It
 sends nothing into that network. All it needs is in this package: it
 is installed without any other network.
`;
}

const sums = (work) =>
  filesIn(work)
    .filter((file) => !file.startsWith(path.join(work, 'DEBIAN')) && fs.lstatSync(file).isFile())
    .map((file) => [path.relative(work, file), createHash('md5').update(fs.readFileSync(file)).digest('hex')])
    .filter(([name]) => !CONFFILES.includes(`/${name}`))
    .map(([name, sum]) => `${sum}  ${name}\n`)
    .join('');

function filesIn(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** Whatever the umask and the checkout had. */
function settleModes(folder) {
  fs.chmodSync(folder, 0o755);
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) settleModes(file);
    else if (entry.isFile()) fs.chmodSync(file, fs.statSync(file).mode & 0o100 ? 0o755 : 0o644);
  }
}

function settleAges(folder, age_s) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) settleAges(file, age_s);
    else fs.lutimesSync(file, age_s, age_s);
  }
  fs.utimesSync(folder, age_s, age_s);
}

const place = (work, name, from) => put(work, name, fs.readFileSync(from));

function put(work, name, content) {
  const file = path.join(work, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
  fs.chmodSync(file, 0o644);
}

function run(program, args, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (error) throw new Error(`${program} could not be started (Debian: dpkg): ${error.message}`);
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout;
}
