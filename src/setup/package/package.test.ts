/**
 * The Debian package in a clean Debian: the smallest system that debootstrap makes, without a network. OT_SENSOR_DEBIAN_ROOT names it
 * (`debootstrap --variant=minbase bookworm FOLDER`); what is done is done in a copy. Needs root.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, execute, fixture, ROOT, remove, temporaryFolder } from '../../cli/testing.ts';
import { version } from '../../version.ts';

const DEBIAN = process.env.OT_SENSOR_DEBIAN_ROOT ?? '';
const missing =
  DEBIAN === '' || !fs.existsSync(path.join(DEBIAN, 'etc/debian_version'))
    ? 'OT_SENSOR_DEBIAN_ROOT names no folder with a Debian'
    : process.getuid?.() !== 0
      ? 'only root can enter another root'
      : '';
if (missing !== '') {
  if (process.env.OT_SENSOR_REQUIRE_PACKAGE === '1') throw new Error(`the package cannot be tested: ${missing}`);
  console.warn(`SKIPPED: THE DEBIAN PACKAGE IS NOT TESTED: ${missing}`);
}

const OLD = version();
const NEW = '99.0.0';
const DATA = '/var/lib/ot-sensor';
const SETTINGS = '/etc/ot-sensor/sensor.yaml';
const INSTALL_MS = 60_000;

describe.skipIf(missing !== '')('the Debian package', { timeout: INSTALL_MS }, () => {
  let folder: string;
  let root: string;
  const packages: Record<string, string> = {};
  const at = (name: string) => path.join(root, name);
  const exists = (name: string) => fs.lstatSync(at(name), { throwIfNoEntry: false }) !== undefined;
  const read = (name: string) => fs.readFileSync(at(name), 'utf8');
  const inRoot = (script: string): Promise<Ended> =>
    execute(path.join(ROOT, 'src/setup/package/in-root'), [root, 'sh', '-c', script]);
  const done = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await inRoot(script);
    expect(code, `${script}\n${stdout}\n${stderr}`).toBe(0);
    return stdout;
  };
  /** As the migration of a later version would. */
  const changeSchema = (files: string) => {
    const code = `const D = require(process.argv[1]); new D(process.argv[2]).pragma('user_version = 9999')`;
    const node = `/opt/ot-sensor/current/bin/node -e "${code}" /opt/ot-sensor/current/node_modules/better-sqlite3`;
    return done(`for file in ${files}; do ${node} $file || exit 1; done`);
  };
  const build = async (out: string, wanted: string): Promise<string> => {
    const module = JSON.stringify(path.join(ROOT, 'src/setup/package/debian-package.mjs'));
    const options = JSON.stringify({ root: ROOT, out: path.join(folder, out), version: wanted, compression: ['-Zgzip', '-z1'] });
    const call = `import(${module}).then((one) => process.stdout.write(one.makeDebianPackage(${options})))`;
    const { code, stdout, stderr } = await execute(process.execPath, ['-e', call]);
    expect(code, stderr).toBe(0);
    return stdout;
  };

  beforeAll(async () => {
    folder = temporaryFolder();
    root = path.join(folder, 'root');
    const { code, stderr } = await execute('cp', ['-a', DEBIAN, root]);
    expect(code, stderr).toBe(0);
    for (const wanted of [OLD, NEW]) {
      const file = await build('packages', wanted);
      packages[wanted] = `/srv/${path.basename(file)}`;
      fs.copyFileSync(file, at(packages[wanted]));
    }
    for (const name of ['plant.pcap', 'plant.zones.yaml']) fs.copyFileSync(fixture(name), at(`srv/${name}`));
  }, 120_000);
  afterAll(() => remove(folder));

  it('is the same, byte for byte, when it is made again', async () => {
    const hash = (file: string) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');
    expect(hash(await build('again', OLD))).toBe(hash(at(packages[OLD])));
  });

  it('is installed without a network, and says where the first password is, not what it is', async () => {
    const said = await done(`dpkg -i --force-unsafe-io ${packages[OLD]} 2>&1`);
    const password = read(`${DATA}/first-password`).trim();
    expect(said).toContain(`whose password is in ${DATA}/first-password until it is changed`);
    expect(said).not.toContain(password);
    expect(fs.readlinkSync(at('opt/ot-sensor/current'))).toBe(`versions/${OLD}`);
    const owners = `stat -c '%a %U %G %n' ${DATA} ${DATA}/appliance.db ${DATA}/tls/key.pem ${DATA}/first-password /etc/ot-sensor ${SETTINGS}`;
    expect((await done(owners)).trim().split('\n')).toEqual([
      `700 ot-sensor ot-sensor ${DATA}`,
      `600 ot-sensor ot-sensor ${DATA}/appliance.db`,
      `600 ot-sensor ot-sensor ${DATA}/tls/key.pem`,
      `600 ot-sensor ot-sensor ${DATA}/first-password`,
      '750 root ot-sensor /etc/ot-sensor',
      `640 root ot-sensor ${SETTINGS}`,
    ]);
    for (const unit of ['ot-sensor.service', 'ot-sensor-api.service', 'ot-sensor-update.path'])
      expect(fs.readlinkSync(at(`etc/systemd/system/multi-user.target.wants/${unit}`))).toBe(`/lib/systemd/system/${unit}`);
    expect(await done('dpkg --verify ot-sensor; find /opt/ot-sensor ! -user root -o -perm /022 ! -type l')).toBe('');
  });

  it('has units that systemd has nothing against', async () => {
    const services = ['ot-sensor', 'ot-sensor-api', 'ot-sensor-update'].map((unit) => at(`lib/systemd/system/${unit}.service`));
    const units = [...services, at('lib/systemd/system/ot-sensor-update.path')];
    const { code, stderr } = await execute('systemd-analyze', [
      'verify',
      '--man=no',
      '--recursive-errors=no',
      `--root=${root}`,
      ...units,
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const unit of services) {
      const security = ['security', '--offline=true', '--threshold=30', '--no-pager', unit];
      const { code, stdout } = await execute('systemd-analyze', security);
      expect(code, stdout).toBe(0);
    }
  });

  it('runs: version, a replay with its findings, the interfaces through the libpcap that it carries', async () => {
    expect(await done('ot-sensor --version')).toBe(`${OLD}\n`);
    const replay = 'ot-sensor replay --data /srv/plant --zones /srv/plant.zones.yaml --format json /srv/plant.pcap';
    expect(JSON.parse(await done(replay))).toMatchObject({ packets: 1006, totals: { devices: 11 } });
    expect(await done('ot-sensor alerts --data /srv/plant --kind zone_crossing --format jsonl | wc -l')).toBe('4\n');
    const [lo] = JSON.parse(await done('ot-sensor interfaces --interface lo --seconds 1 --format json'));
    expect(lo).toMatchObject({ name: 'lo', backend: 'libpcap' });
    expect(exists('usr/lib/x86_64-linux-gnu/libpcap.so.0.8')).toBe(false);
  });

  it('captures nothing before a mirror port is named, which is no failure', async () => {
    const { code, stdout } = await inRoot('ot-sensor setup done');
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: `${SETTINGS}: no mirror port is named yet; name one with ot-sensor setup\n`,
    });
  });

  it('serves the API over HTTPS as the user of the service, who has no capability', async () => {
    const password = read(`${DATA}/first-password`).trim();
    const answers = await done(`${AS_SERVICE} ot-sensor serve --config ${SETTINGS} & service=$!
      /opt/ot-sensor/current/bin/node --input-type=module - <<'END'
${CLIENT}
END
      status=$?; kill $service; wait $service; exit $status`);
    expect(answers).not.toContain(password);
    expect(exists(`${DATA}/first-password`)).toBe(false);
    expect(answers.split('\n').filter((line) => line.startsWith('>'))).toEqual([
      '> POST /api/v3/session 201',
      '> GET /api/v3/users 403',
      '> PUT /api/v3/account/password 204',
      '> POST /api/v3/session 201',
      '> GET /api/v3/users 200 admin',
      '> GET /api/docs/ 200',
    ]);
  });

  it('is upgraded: the old version stays to go back to, data and settings stay as they are', async () => {
    fs.appendFileSync(at(SETTINGS), '# a change of ours\n');
    fs.appendFileSync(at('etc/default/ot-sensor'), 'OT_SENSOR_LOG_LEVEL=debug\n');
    const before = [read(SETTINGS), read(`${DATA}/tls/certificate.pem`)];
    await done(`dpkg -i --force-unsafe-io ${packages[NEW]}`);
    expect(await done('ot-sensor --version')).toBe(`${NEW}\n`);
    expect(await done(`/opt/ot-sensor/versions/${OLD}/bin/ot-sensor --version`)).toBe(`${OLD}\n`);
    expect([read(SETTINGS), read(`${DATA}/tls/certificate.pem`)]).toEqual(before);
    expect(read('etc/default/ot-sensor')).toContain('debug');
    expect(await done(`ot-sensor users list --data ${DATA} --format jsonl`)).toContain('"name":"admin"');
    expect(fs.statSync(at(`${DATA}/appliance.db`)).uid).toBe(fs.statSync(at(DATA)).uid);
  });

  it('is not taken back to an older version by mistake', async () => {
    const { code, stderr } = await inRoot(`dpkg -i --force-unsafe-io ${packages[OLD]}`);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`ot-sensor: version ${NEW} is installed, which is newer than ${OLD}; nothing was changed.`);
    expect(await done('ot-sensor --version; dpkg -s ot-sensor | grep ^Status')).toBe(`${NEW}\nStatus: install ok installed\n`);
  });

  it('goes back to the version before, with the databases of before where their schema has changed', async () => {
    await changeSchema(`${DATA}/appliance.db`);
    expect((await inRoot(`ot-sensor users list --data ${DATA}`)).stderr).toMatch(/newer/);
    expect(await done('ot-sensor update rollback')).toContain(`software: ${OLD}`);
    expect(await done('ot-sensor --version')).toBe(`${OLD}\n`);
    expect(await done(`ot-sensor users list --data ${DATA} --format jsonl`)).toContain('"name":"admin"');
    expect(fs.statSync(at(`${DATA}/appliance.db`)).uid).toBe(fs.statSync(at(DATA)).uid);
  });

  it('leaves a newer version in use that an update brought', async () => {
    const update = (name: string) =>
      `cp -a /opt/ot-sensor/package /opt/ot-sensor/other && cd /opt/ot-sensor/other && sed -i 's/${NEW}/${name}/' package.json && ot-sensor setup switch $PWD`;
    expect(await done(`dpkg -i --force-unsafe-io ${packages[NEW]}`)).toContain(`update rollback goes back to ${OLD}`);
    expect(await done(`${update('100.0.0')}; dpkg -i --force-unsafe-io ${packages[NEW]}`)).toContain(
      'version 100.0.0, which an update brought, is newer',
    );
    expect(await done('ot-sensor --version')).toBe('100.0.0\n');
    // A version before the release it leads to is older.
    await done(
      `ot-sensor update rollback; ${update(`${NEW}-rc.1`)} --allow-downgrade; dpkg -i --force-unsafe-io ${packages[NEW]}`,
    );
    expect(await done('ot-sensor --version')).toBe(`${NEW}\n`);
    expect(fs.readdirSync(at('opt/ot-sensor/versions')).sort()).toEqual([NEW, `${NEW}-rc.1`]);
    expect(fs.readdirSync(at('opt/ot-sensor')).sort()).toEqual([
      'current',
      'fallback',
      'package',
      'update-progress.json',
      'update.json',
      'update.lock',
      'versions',
    ]);
  });

  it('installs what was asked for over the API: as root, with the data as its owner', async () => {
    const sign = '--secret-key signing.key --public-key signing.pub';
    await done(`cd /srv && ot-sensor update make-key root && ot-sensor update make-key signing
      ot-sensor update certify-key signing.pub --root-secret-key root.key --from 2020-01-01 --to 2099-01-01
      install -m 0640 -g ot-sensor root.pub /etc/ot-sensor/update-root.pub
      cp -a /opt/ot-sensor/package release && sed -i 's/${NEW}/101.0.0/' release/package.json
      ot-sensor update build release --set-version 101.0.0 --out 101.bundle && ot-sensor update sign 101.bundle ${sign}
      chmod 644 101.bundle; rm -rf release`);
    // As the service leaves it.
    const id = 'a'.repeat(32);
    const request = JSON.stringify({ format: 1, action: 'apply', id });
    await done(`${AS_SERVICE} sh -c 'umask 077; mkdir -p ${DATA}/updates; cp /srv/101.bundle ${DATA}/updates/${id}.bundle'
      printf '%s' '${request}' | ${AS_SERVICE} sh -c 'umask 077; cat >${DATA}/updates/request.json'`);
    expect(await done(`ot-sensor update requested --config ${SETTINGS}`)).toBe('apply: done\n');
    expect(await done('ot-sensor --version')).toBe('101.0.0\n');
    // Nothing in the data is root's, and the service may read how far it is.
    expect(await done(`find ${DATA} ! -user ot-sensor`)).toBe('');
    expect(await done(`${AS_SERVICE} ot-sensor update status`)).toMatch(/^software: 101\.0\.0[\s\S]*to be confirmed or undone/m);
    await done('ot-sensor update rollback');
    expect(await done('ot-sensor --version')).toBe(`${NEW}\n`);
  });

  it('refuses by its own migrations a database that a newer version has changed', async () => {
    await done(`cp -a ${DATA} /srv/later`);
    for (const file of ['/srv/later/appliance.db', '/srv/plant/*.db']) await changeSchema(file);
    for (const command of ['users list --data /srv/later', 'devices --data /srv/plant']) {
      const { code, stderr } = await inRoot(`ot-sensor ${command}`);
      expect(code).toBe(2);
      expect(stderr).toMatch(/newer/);
    }
  });

  it('is removed, and leaves data and settings; purged, it leaves the data', async () => {
    await done('dpkg --remove ot-sensor');
    expect(['opt/ot-sensor', 'usr/bin/ot-sensor', 'lib/systemd/system/ot-sensor.service'].filter(exists)).toEqual([]);
    expect([SETTINGS, `${DATA}/appliance.db`, 'etc/default/ot-sensor'].every(exists)).toBe(true);
    expect(await done('dpkg --purge ot-sensor')).toContain(`the data stays in ${DATA}`);
    expect(['etc/ot-sensor', 'etc/default/ot-sensor', 'etc/systemd/system/ot-sensor.service'].filter(exists)).toEqual([]);
    expect(exists(`${DATA}/appliance.db`)).toBe(true);
  });

  it('is installed again over the data that was left; purged with it where that is asked for', async () => {
    const said = await done(
      `dpkg -i --force-unsafe-io ${packages[OLD]} && touch /etc/ot-sensor/purge-data && dpkg --purge ot-sensor`,
    );
    expect(said).not.toContain('first administrator');
    expect(exists(DATA)).toBe(false);
    expect(read('etc/passwd')).not.toContain('ot-sensor');
    const left = `find / -xdev -name '*ot-sensor*' ! -path '/srv/*' ! -path '/proc/*' ! -path '/sys/*'`;
    expect(await done(left)).toBe('');
  });

  it('shows the first password on a terminal, unless a front end keeps a log of it', async () => {
    const shown = `OT_SENSOR_PURGE_DATA=yes dpkg --purge ot-sensor`;
    const onTerminal = async (env: string) => {
      await done(`script -qec '${env} dpkg -i --force-unsafe-io ${packages[OLD]}' /srv/typescript`);
      return { said: read('srv/typescript'), password: read(`${DATA}/first-password`).trim() };
    };
    const plain = await onTerminal('');
    expect(plain.said).toContain(`shown this once and is to be changed: ${plain.password}`);
    await done(shown);
    const logged = await onTerminal('DPKG_FRONTEND_LOCKED=true');
    expect(logged.said).toContain('first-password until it is changed');
    expect(logged.said).not.toContain(logged.password);
  });
});

/** As the units do it, but for what only systemd can. */
const AS_SERVICE =
  'setpriv --reuid ot-sensor --regid ot-sensor --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs';

/** Signs in with the first password, changes it, and reads what only then may be read. */
const CLIENT = `
import fs from 'node:fs';
process.removeAllListeners('warning');
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
let authorization = '';
async function ask(method, path, body) {
  const init = { method, headers: { authorization, ...(body && { 'content-type': 'application/json' }) }, body: body && JSON.stringify(body) };
  for (let tries = 0; ; tries++) {
    try {
      const answer = await fetch('https://127.0.0.1:8443' + path, init);
      const text = await answer.text();
      const json = /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : null;
      console.log('>', method, path, answer.status, ...(json?.items ?? []).map((one) => one.name));
      if (answer.status >= 400) console.log(text);
      return json;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
const password = fs.readFileSync('/var/lib/ot-sensor/first-password', 'utf8').trim();
async function signIn(password) {
  const { token } = await ask('POST', '/api/v3/session', { name: 'admin', password });
  authorization = 'Bearer ' + token;
}
await signIn(password);
await ask('GET', '/api/v3/users');
await ask('PUT', '/api/v3/account/password', { password, new_password: 'Kp7-tidal-Orbit-91' });
await signIn('Kp7-tidal-Orbit-91');
await ask('GET', '/api/v3/users');
await ask('GET', '/api/docs/');
`;
