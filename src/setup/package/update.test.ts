/**
 * An update of a real program in a clean Debian: the package is installed, a release of the program as it is, with another number, is made
 * into a signed bundle and applied; then one whose service does not start, after a migration. Needs root and OT_SENSOR_DEBIAN_ROOT, as
 * package.test.ts. The smallest Debian has no systemd: a script stands in for systemctl and does what the units say.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, execute, ROOT, remove, temporaryFolder } from '../../cli/testing.ts';
import { version } from '../../version.ts';

const DEBIAN = process.env.OT_SENSOR_DEBIAN_ROOT ?? '';
const missing =
  DEBIAN === '' || !fs.existsSync(path.join(DEBIAN, 'etc/debian_version'))
    ? 'OT_SENSOR_DEBIAN_ROOT names no folder with a Debian'
    : process.getuid?.() !== 0
      ? 'only root can enter another root'
      : '';
if (missing !== '') {
  if (process.env.OT_SENSOR_REQUIRE_PACKAGE === '1') throw new Error(`updates of a package cannot be tested: ${missing}`);
  console.warn(`SKIPPED: AN UPDATE OF A REAL PROGRAM IS NOT TESTED: ${missing}`);
}

const OLD = version();
const NEW = '99.0.0';
const BROKEN = '100.0.0';
const DATA = '/var/lib/ot-sensor';
const TIMEOUT_MS = 600_000;

/** `stop`, `start` and `show` of units: ExecStartPre as root, ExecStart as the service's user, started again where that fails. */
const SYSTEMCTL = `#!/bin/sh
if [ "$1" = --keep ]; then
  while [ -e $2.wanted ]; do
    /opt/ot-sensor/fallback/bin/ot-sensor update recover && {
      setpriv --reuid ot-sensor --regid ot-sensor --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \\
        /opt/ot-sensor/current/bin/ot-sensor serve --config /etc/ot-sensor/sensor.yaml & echo $! >$2.pid; wait $!; }
    sleep 0.2
  done
  exit
fi
command=$1; shift
for unit; do
  unit=/run/\${unit%.service}
  case $command in
    stop) rm -f $unit.wanted
      until flock --nonblock $unit.lock true; do kill $(cat $unit.pid) 2>/dev/null; sleep 0.05; done
      rm -f $unit.pid ;;
    start) touch $unit.wanted
      flock --nonblock --close $unit.lock systemctl --keep $unit >>/srv/journal 2>&1 &
      until [ -e $unit.pid ]; do sleep 0.05; done ;;
    show) case $unit in *--property*) continue ;; esac
      if kill -0 "$(cat $unit.pid)" 2>/dev/null; then echo ActiveState=active; else echo ActiveState=activating; fi
      echo MainPID=$(cat $unit.pid 2>/dev/null) ;;
  esac
done
`;

/** Works in every command but the one that matters, and leaves a schema that the version before does not know. */
const BROKEN_MAIN = `
import { createRequire } from 'node:module';
const [command, action, , data] = process.argv.slice(2);
if (command === 'serve') throw new Error('this version does not start');
if (action === 'migrate')
  process.on('exit', () => {
    const Database = createRequire(import.meta.url)('better-sqlite3');
    new Database(data + '/appliance.db').pragma('user_version = 9999');
  });
await import('./whole.js');
`;

describe.skipIf(missing !== '')('an update of a real program', { timeout: TIMEOUT_MS }, () => {
  let folder: string;
  let root: string;
  const at = (name: string) => path.join(root, name);
  const inRoot = (script: string): Promise<Ended> =>
    execute(path.join(ROOT, 'src/setup/package/in-root'), [root, 'sh', '-c', script]);
  const done = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await inRoot(script);
    expect(code, `${script}\n${stdout}\n${stderr}`).toBe(0);
    return stdout;
  };
  const make = async (module: string, call: string, options: object): Promise<string> => {
    const url = JSON.stringify(path.join(ROOT, 'src/setup/package', module));
    const code = `import(${url}).then((one) => process.stdout.write(String(one.${call}(${JSON.stringify(options)}))))`;
    const { code: status, stdout, stderr } = await execute(process.execPath, ['-e', code]);
    expect(status, stderr).toBe(0);
    return stdout;
  };
  const bundle = (
    release: string,
  ) => `ot-sensor update build /srv/${release} --set-version ${release} --architecture ${process.arch} \\
      --out /srv/${release}.bundle && ot-sensor update sign /srv/${release}.bundle --secret-key /srv/signing.key --public-key /srv/signing.pub`;
  /** With the service running, as whatever is current by then; at the end, whose program answers on the API's port. */
  const WITH_SERVICE = `systemctl start ot-sensor-api
    answers() { /opt/ot-sensor/current/bin/node -e '
      process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
      const ask = (left) => fetch("https://127.0.0.1:8443/api/v3/users").then(
        ({ status }) => console.log("answer", status),
        (error) => (left > 0 ? setTimeout(ask, 100, left - 1) : (console.error(error), process.exit(1))));
      ask(600);' 2>/srv/answers.log && readlink /proc/$(cat /run/ot-sensor-api.pid)/exe; }
    answers || { cat /srv/journal /srv/answers.log; exit 9; }`;
  const apply = (release: string) =>
    `ot-sensor update apply /srv/${release}.bundle --data ${DATA} --service ot-sensor-api --config /etc/ot-sensor/sensor.yaml`;

  beforeAll(async () => {
    folder = temporaryFolder();
    root = path.join(folder, 'root');
    const { code, stderr } = await execute('cp', ['-a', DEBIAN, root]);
    expect(code, stderr).toBe(0);
    const file = await make('debian-package.mjs', 'makeDebianPackage', { root: ROOT, out: at('srv'), compression: ['-Znone'] });
    await make('version-folder.mjs', 'makeVersionFolder', { root: ROOT, folder: at(`srv/${NEW}`), version: NEW });
    // Its own node is the one that is there, so that the bundle stays small.
    fs.mkdirSync(at(`srv/${BROKEN}/bin`), { recursive: true });
    for (const name of ['dist', 'node_modules', 'native-bindings', 'lib', 'bin/ot-sensor', 'package.json'])
      fs.cpSync(at(`srv/${NEW}/${name}`), at(`srv/${BROKEN}/${name}`), { recursive: true });
    fs.writeFileSync(at(`srv/${BROKEN}/bin/node`), '#!/bin/sh\nexec /opt/ot-sensor/fallback/bin/node "$@"\n', { mode: 0o755 });
    fs.renameSync(at(`srv/${BROKEN}/dist/program/main.js`), at(`srv/${BROKEN}/dist/program/whole.js`));
    fs.writeFileSync(at(`srv/${BROKEN}/dist/program/main.js`), BROKEN_MAIN);
    const manifest = at(`srv/${BROKEN}/package.json`);
    fs.writeFileSync(manifest, fs.readFileSync(manifest, 'utf8').replace(NEW, BROKEN));
    await done(`dpkg -i --force-unsafe-io /srv/${path.basename(file)}
      cd /srv && ot-sensor update make-key root && ot-sensor update make-key signing
      ot-sensor update certify-key signing.pub --root-secret-key root.key --from 2020-01-01 --to 2099-01-01
      cp root.pub /etc/ot-sensor/update-root.pub
      ${bundle(NEW)} && ${bundle(BROKEN)}`);
    fs.writeFileSync(at('usr/bin/systemctl'), SYSTEMCTL, { mode: 0o755 });
  }, TIMEOUT_MS);
  afterAll(() => remove(folder));

  const schema = () =>
    done(`/opt/ot-sensor/current/bin/node -e "const D = require(process.argv[1]);
      console.log(new D(process.argv[2]).pragma('user_version', { simple: true }))" \\
      /opt/ot-sensor/current/node_modules/better-sqlite3 ${DATA}/appliance.db`);

  it('serves as the new version, and says each step in the audit log', async () => {
    const said = await done(`${WITH_SERVICE}; ${apply(NEW)} && answers; status=$?; systemctl stop ot-sensor-api; exit $status`);
    expect(said.match(/^(answer|\/opt).*$/gm)).toEqual([
      'answer 401',
      `/opt/ot-sensor/versions/${OLD}/bin/node`,
      'answer 401',
      `/opt/ot-sensor/versions/${NEW}/bin/node`,
    ]);
    expect(await done('ot-sensor --version; ot-sensor update status')).toMatch(
      new RegExp(`^${NEW}\nsoftware: ${NEW}; before it ${OLD}, which can be gone back to`),
    );
    const audit = await done(`ot-sensor audit list --data ${DATA} --format jsonl`);
    for (const action of ['update.verify', 'update.backup', 'update.migrate', 'update.switch', 'update.done'])
      expect(audit).toContain(`"action":"${action}"`);
    expect(await done(`find ${DATA} ! -user ot-sensor`)).toBe('');
    expect(await done(`ls ${DATA}/backups`)).toMatch(/\.tar\.gz\n$/);
  });

  it('whose service does not start is taken back, with the databases, and the version before serves', async () => {
    const before = await schema();
    const said = await done(
      `${WITH_SERVICE}; ${apply(BROKEN)} 2>/srv/said && exit 8; answers; status=$?; systemctl stop ot-sensor-api; exit $status`,
    );
    expect(said.match(/^(answer|\/opt).*$/gm)?.slice(2)).toEqual(['answer 401', `/opt/ot-sensor/versions/${NEW}/bin/node`]);
    expect(fs.readFileSync(at('srv/said'), 'utf8')).toMatch(/ot-sensor-api does not stay up with it[\s\S]*rollback: done/);
    expect(await schema()).toBe(before);
    expect(await done('ot-sensor update status')).toContain(`software: ${NEW}; before it ${OLD}`);
    expect(fs.readdirSync(at('opt/ot-sensor/versions')).sort()).toEqual([OLD, NEW].sort());
    expect(fs.readdirSync(at(DATA)).filter((name) => /trial|work|next/.test(name))).toEqual([]);
    expect(await done(`find ${DATA} ! -user ot-sensor`)).toBe('');
  });

  it('killed while it is applied is taken back when the service starts', async () => {
    const killed = `(${apply(BROKEN)} >/dev/null 2>&1 & update=$!
      while [ ! -e /opt/ot-sensor/versions/${BROKEN} ]; do sleep 0.01; done; kill -9 $update)`;
    const said = await done(
      `${WITH_SERVICE}; ${killed}; systemctl start ot-sensor-api; answers; status=$?; systemctl stop ot-sensor-api; exit $status`,
    );
    expect(said.match(/^(answer|\/opt).*$/gm)?.at(-1)).toBe(`/opt/ot-sensor/versions/${NEW}/bin/node`);
    expect(await done('ot-sensor --version')).toBe(`${NEW}\n`);
  });

  it('goes back when it is asked to', async () => {
    const said = await done(
      `${WITH_SERVICE}; ot-sensor update rollback --service ot-sensor-api && answers; status=$?; systemctl stop ot-sensor-api; exit $status`,
    );
    expect(said.match(/^(answer|\/opt).*$/gm)?.at(-1)).toBe(`/opt/ot-sensor/versions/${OLD}/bin/node`);
  });
});
