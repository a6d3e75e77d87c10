import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { useData } from '../backup/restore.ts';
import { countDevices, makeAppliance, remove, temporaryFolder } from '../backup/testing.ts';
import type { OperatingError } from '../errors.ts';
import { FILE_CHANGES, killedBeforeChange } from '../kill/testing.ts';
import { generateKey, type SecretKey } from '../signing/minisign.ts';
import type { StoreError } from '../store/errors.ts';
import { DATABASE_FILE } from '../store/writer.ts';
import {
  applyUpdate,
  recoverUpdate,
  rollbackUpdate,
  type UpdateHooks,
  type UpdateRequest,
  type UpdateStep,
  updateStatus,
} from './apply.ts';
import { buildBundle, signBundle } from './bundle.ts';
import { openBundle } from './manifest.ts';
import { certifyKey, type KeyStatement } from './signing-key.ts';

const NOW = Date.UTC(2026, 5, 1);
const YEAR = 365 * 86_400_000;
const root_key = generateKey();
const signing_key = generateKey();

let folder: string;
let data: string;
let root: string;
let steps: UpdateStep[];
let running: string;
beforeEach(() => {
  folder = temporaryFolder();
  ({ data } = makeAppliance(folder));
  root = at('opt');
  steps = [];
  running = '';
});
afterEach(() => remove(folder));
const at = (...names: string[]): string => path.join(folder, ...names);

interface Made {
  kind?: 'software' | 'content';
  key?: SecretKey;
  certified_by?: SecretKey;
  validity?: Partial<KeyStatement>;
  rules?: { minimum_version?: string; maximum_version?: string; architecture?: string };
}

/** A signed bundle whose program is a file that says its version. */
async function bundle(
  version: string,
  { kind = 'software', key = signing_key, certified_by = root_key, validity = {}, rules = {} }: Made = {},
) {
  const directory = at('release', version);
  fs.mkdirSync(path.join(directory, 'dist/program'), { recursive: true });
  fs.writeFileSync(path.join(directory, 'dist/program/main.js'), version, { mode: 0o755 });
  fs.writeFileSync(path.join(directory, 'package.json'), JSON.stringify({ version }));
  const out = at(`${kind}-${version}.bundle`);
  const more = { minimum_version: '', maximum_version: '', architecture: '', notes: '', ...rules };
  await buildBundle({ directory, out, kind, version, now_ms: NOW, ...more });
  const statement = certifyKey(
    key,
    { kinds: ['software', 'content'], from_ms: NOW - YEAR, to_ms: NOW + YEAR, ...validity },
    certified_by,
  );
  await signBundle(out, key, statement.public_key, statement.statement);
  return out;
}

const requestFor = (file: string, more: Partial<UpdateRequest> = {}): UpdateRequest => ({
  file,
  root,
  data,
  root_keys: [root_key],
  allow_downgrade: false,
  program_version: updateStatus(root).software.version || '0.1.0',
  now_ms: NOW + 1000,
  ...more,
});

/** A "migration" that each program makes of the devices' names; its version is then in all of them. */
function migrate(program: string, where: string): void {
  const version = fs.readFileSync(path.join(program, 'dist/program/main.js'), 'utf8');
  const db = new Database(path.join(where, DATABASE_FILE));
  db.prepare('UPDATE devices SET name = ?').run(version);
  db.pragma(`user_version = ${100 + Number(version.split('.')[0])}`);
  db.close();
}

const hooks = (more: Partial<UpdateHooks> = {}): UpdateHooks => ({
  stop: async () => {
    running = '';
  },
  start: async () => {
    running = current();
  },
  migrate: async (program, where) => migrate(program, where),
  check: async () => {},
  onStep: (step) => steps.push(step),
  ...more,
});

function current(): string {
  const link = path.join(root, 'current');
  return fs.existsSync(link) ? fs.readFileSync(path.join(link, 'dist/program/main.js'), 'utf8') : '';
}

function namesInDatabase(): string[] {
  const db = new Database(path.join(data, DATABASE_FILE), { readonly: true });
  try {
    return db.prepare('SELECT DISTINCT name FROM devices').pluck().all() as string[];
  } finally {
    db.close();
  }
}

/** The version that everything is of: program, database, links. Anything else is a half state. */
function state(): string {
  const version = current();
  const names = namesInDatabase();
  const fallback = fs.readlinkSync(path.join(root, 'fallback'));
  if (names.length !== 1 || names[0] !== version || path.basename(fallback) !== version)
    return `half: program ${version}, fallback ${fallback}, names ${names}`;
  return version;
}

const leftovers = (): string[] =>
  [...fs.readdirSync(root), ...fs.readdirSync(data)].filter((name) => /staging|trial|\.new|\.tmp/.test(name));

describe('an update', () => {
  it('goes from version to version, database included, and back', async () => {
    await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
    expect([state(), running]).toEqual(['1.0.0', '1.0.0']);
    expect(steps.map(({ step, outcome }) => `${step} ${outcome}`)).toEqual(
      ['verify', 'stage', 'preflight', 'stop', 'copy', 'migrate', 'switch', 'check', 'start', 'done'].map(
        (step) => `${step} done`,
      ),
    );
    await applyUpdate(requestFor(await bundle('2.0.0')), hooks());
    expect([state(), updateStatus(root).software.previous, leftovers()]).toEqual(['2.0.0', '1.0.0', []]);
    expect(fs.statSync(path.join(root, 'current/dist/program/main.js')).mode & 0o777).toBe(0o755);
    await rollbackUpdate(root, hooks());
    expect([state(), running, updateStatus(root).software]).toEqual([
      '1.0.0',
      '1.0.0',
      { state: 'none', version: '1.0.0', previous: '' },
    ]);
    await expect(rollbackUpdate(root, hooks())).rejects.toThrow(/no former version/);
    expect(countDevices(data)).toBe(20);
  });

  it('keeps two versions, and what was seen where going back needs no other schema', async () => {
    const keep = hooks({ migrate: async () => {} });
    for (const version of ['1.0.0', '1.1.0', '1.2.0']) await applyUpdate(requestFor(await bundle(version)), keep);
    expect(fs.readdirSync(path.join(root, 'versions')).sort()).toEqual(['1.1.0', '1.2.0']);
    expect(fs.readdirSync(data).filter((name) => name.startsWith('update-'))).toHaveLength(1);
    const db = new Database(path.join(data, DATABASE_FILE));
    db.exec("UPDATE devices SET name = 'seen since'");
    db.close();
    await rollbackUpdate(root, keep);
    expect([current(), namesInDatabase()]).toEqual(['1.1.0', ['seen since']]);
  });

  it.each(['migrate', 'check', 'start', 'probe'] as const)('that fails at %s is taken back by itself', async (step) => {
    await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
    await applyUpdate(requestFor(await bundle('2.0.0')), hooks());
    steps = [];
    let failed = false;
    const fail = async (...args: unknown[]) => {
      if (step === 'migrate') migrate(args[0] as string, args[1] as string);
      if (step === 'migrate' && (args[1] as string).includes('trial')) return;
      if (!failed) {
        failed = true;
        throw new Error('it does not work');
      }
      running = current();
    };
    await expect(applyUpdate(requestFor(await bundle('3.0.0')), hooks({ [step]: fail }))).rejects.toThrow(
      /all is as it was: it does not work/,
    );
    expect([state(), running, updateStatus(root).software.previous]).toEqual(['2.0.0', '2.0.0', '1.0.0']);
    expect(steps.at(-1)).toMatchObject({ step: 'rollback', outcome: 'done', from: '2.0.0', to: '3.0.0' });
    expect(steps.filter(({ outcome }) => outcome === 'failed')).toMatchObject([{ message: 'it does not work' }]);
    // And the one before can still be gone back to.
    await rollbackUpdate(root, hooks());
    expect([state(), leftovers()]).toEqual(['1.0.0', []]);
  });

  it('whose migration fails on a copy changes and stops nothing', async () => {
    await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
    const fail = hooks({
      migrate: () => Promise.reject(new Error('no such column')),
      stop: () => Promise.reject(new Error('was stopped')),
    });
    await expect(applyUpdate(requestFor(await bundle('2.0.0')), fail)).rejects.toThrow(/no such column/);
    expect([state(), running, leftovers()]).toEqual(['1.0.0', '1.0.0', []]);
  });

  it('waits for nobody: what uses the databases is told, and started again', async () => {
    const db = new Database(path.join(data, DATABASE_FILE));
    db.prepare('SELECT count(*) FROM devices').get();
    await expect(applyUpdate(requestFor(await bundle('1.0.0')), hooks())).rejects.toMatchObject({ code: 'conflict' });
    db.close();
    expect([current(), updateStatus(root).software.state]).toEqual(['', 'none']);
    const one = applyUpdate(requestFor(at('software-1.0.0.bundle')), hooks());
    await expect(applyUpdate(requestFor(at('software-1.0.0.bundle')), hooks())).rejects.toMatchObject({ code: 'conflict' });
    await one;
  });

  it('of content stops nothing and touches no database', async () => {
    const stop = () => Promise.reject(new Error('was stopped'));
    const content = hooks({ stop, start: stop, migrate: stop });
    await applyUpdate(requestFor(await bundle('5.0.0', { kind: 'content' }), { program_version: '0.1.0' }), content);
    await applyUpdate(requestFor(await bundle('6.0.0', { kind: 'content' }), { program_version: '0.1.0' }), content);
    expect(updateStatus(root)).toMatchObject({ content: { version: '6.0.0', previous: '5.0.0' }, software: { version: '' } });
    await rollbackUpdate(root, content, { kind: 'content' });
    expect(updateStatus(root).content.version).toBe('5.0.0');
  });
});

describe('an update is refused', () => {
  const refusal = async (made: Promise<string>, more: Partial<UpdateRequest> = {}): Promise<string> => {
    const file = await made;
    const before = fs.existsSync(root) ? fs.readdirSync(root).filter((name) => name !== 'update.lock') : [];
    const error = await applyUpdate(requestFor(file, more), hooks()).then(
      () => new Error('it was installed'),
      (fault: Error) => fault,
    );
    expect((fs.existsSync(root) ? fs.readdirSync(root) : []).filter((name) => name !== 'update.lock')).toEqual(before);
    return error.message;
  };

  it('whose signature is not of a key that the root vouches for, for this and now', async () => {
    const other = generateKey();
    expect(await refusal(bundle('1.0.0', { certified_by: other }))).toMatch(/no root key of this appliance/);
    expect(await refusal(bundle('1.0.0', { certified_by: { ...other, id: root_key.id } }))).toMatch(/signature is wrong/);
    expect(await refusal(bundle('1.0.0'), { root_keys: [] })).toMatch(/no root key for updates is installed/);
    expect(await refusal(bundle('1.0.0', { validity: { to_ms: NOW - 1000 } }))).toMatch(/was valid up to/);
    expect(await refusal(bundle('1.0.0', { validity: { from_ms: NOW + 60_000 } }))).toMatch(/valid from/);
    expect(await refusal(bundle('1.0.0'), { now_ms: NOW + 2 * YEAR })).toMatch(/was valid up to/);
    expect(await refusal(bundle('1.0.0', { validity: { kinds: ['content'] } }))).toMatch(/is for content only/);
    // A key that was once certified cannot be exchanged for another.
    const out = await bundle('1.0.0');
    const statement = certifyKey(signing_key, { kinds: ['software'], from_ms: 0, to_ms: NOW + YEAR }, root_key);
    await signBundle(out, other, statement.public_key, statement.statement);
    expect(await refusal(Promise.resolve(out))).toMatch(/was signed with the key/);
    await buildBundle({
      directory: at('release/1.0.0'),
      out,
      kind: 'software',
      version: '1.0.0',
      now_ms: NOW,
      minimum_version: '',
      maximum_version: '',
      architecture: '',
      notes: '',
    });
    expect(await refusal(Promise.resolve(out))).toMatch(/is not signed/);
  });

  it('whose version does not fit', async () => {
    expect(await refusal(bundle('1.0.0', { rules: { minimum_version: '0.2.0' } }))).toMatch(/needs ot-sensor 0.2.0 at least/);
    expect(await refusal(bundle('1.0.0', { rules: { maximum_version: '0.0.9' } }))).toMatch(/up to 0.0.9/);
    expect(await refusal(bundle('1.0.0', { rules: { architecture: 'vax' } }))).toMatch(/it is for vax/);
    await applyUpdate(requestFor(await bundle('2.0.0')), hooks());
    expect(await refusal(bundle('2.0.0'))).toMatch(/installed already/);
    expect(await refusal(bundle('1.9.9'))).toMatch(/--allow-downgrade/);
    await applyUpdate(requestFor(at('software-1.9.9.bundle'), { allow_downgrade: true }), hooks());
    expect(state()).toBe('1.9.9');
  });

  it('that was changed anywhere', async () => {
    const file = await bundle('1.0.0');
    const plain = zlib.gunzipSync(fs.readFileSync(file));
    // In each member, and in the manifest.
    const places = [600, plain.indexOf('1.0.0', 4096), plain.length - 3000];
    for (const place of places) {
      const changed = Buffer.from(plain);
      changed[place] ^= 1;
      fs.writeFileSync(at('changed'), zlib.gzipSync(changed));
      expect(await refusal(Promise.resolve(at('changed')))).not.toMatch(/was installed$/);
    }
    fs.writeFileSync(at('cut'), fs.readFileSync(file).subarray(0, 700));
    expect(await refusal(Promise.resolve(at('cut')))).toMatch(/damaged|cut off/);
  });

  it('before it is built, where it holds what no bundle may', async () => {
    await bundle('1.0.0');
    const build = (version = '1.0.0') =>
      buildBundle({
        directory: at('release/1.0.0'),
        out: at('out'),
        kind: 'software',
        version,
        now_ms: NOW,
        minimum_version: '',
        maximum_version: '',
        architecture: '',
        notes: '',
      });
    await expect(build('1.0.1')).rejects.toThrow(/says version 1.0.0/);
    fs.symlinkSync('/etc/passwd', at('release/1.0.0/link'));
    await expect(build()).rejects.toThrow(/no regular file/);
  });

  it('the statement on its key reads back as it was made', async () => {
    const { manifest, signer, reader } = await openBundle(await bundle('1.0.0'), [root_key], NOW);
    await reader.close();
    expect([manifest.version, signer]).toEqual(['1.0.0', signing_key.id]);
  });
});

const killedAt = (n: number, request: UpdateRequest, code: string): Promise<boolean> =>
  killedBeforeChange(
    n,
    request,
    `const { applyUpdate, recoverUpdate, rollbackUpdate } = await built('update/apply.ts');
    const { default: Database } = await import('better-sqlite3');
    const migrate = (program, where) => {
      const version = fs.readFileSync(path.join(program, 'dist/program/main.js'), 'utf8');
      const db = new Database(path.join(where, ${JSON.stringify(DATABASE_FILE)}));
      kill();
      db.prepare('UPDATE devices SET name = ?').run(version);
      kill();
      db.pragma('user_version = ' + (request.schema ?? 100 + Number(version.split('.')[0])));
      db.close();
    };
    const hooks = { stop: async () => kill(), start: async () => kill(), check: async () => kill(), migrate: async (...args) => migrate(...args) };
    ${code}`,
  );

describe('killed when the new version was started', () => {
  /** Ends itself once it is started and has seen something. */
  const killed = async (schema: number): Promise<void> => {
    await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
    const request = { ...requestFor(await bundle('2.0.0')), schema };
    const start = `hooks.start = async () => {
      const db = new Database(path.join(request.data, ${JSON.stringify(DATABASE_FILE)}));
      db.exec("UPDATE devices SET model = 'seen since' WHERE id = 1");
      process.kill(process.pid, 'SIGKILL');
    };`;
    expect(await killedAt(10_000, request, `${start} await applyUpdate(request, hooks);`)).toBe(true);
  };
  const seen = (): unknown => {
    const db = new Database(path.join(data, DATABASE_FILE), { readonly: true });
    const model = db.prepare('SELECT model FROM devices WHERE id = 1').pluck().get();
    db.close();
    return model;
  };

  it('it stays where going back would lose what it has seen', async () => {
    await killed(102);
    expect([recoverUpdate(root).restart, state(), seen()]).toEqual([false, '2.0.0', 'seen since']);
    expect(updateStatus(root).software).toEqual({ state: 'installed', version: '2.0.0', previous: '1.0.0' });
    await rollbackUpdate(root, hooks());
    expect(state()).toBe('1.0.0');
  });

  it('it is taken back, and what it has seen stays, where the version before can read that', async () => {
    await killed(101);
    expect([recoverUpdate(root).restart, current(), seen(), leftovers()]).toEqual([true, '1.0.0', 'seen since', []]);
  });

  it('it stays where it runs', async () => {
    await killed(101);
    const use = useData(data);
    expect([recoverUpdate(root).restart, current(), seen()]).toEqual([false, '2.0.0', 'seen since']);
    use.close();
    expect(updateStatus(root).software.state).toBe('installed');
  });
});

/** What each fault of a disk keeps from being done; what frees room is done on one that is full. */
const REFUSED = {
  ENOSPC: ['openSync', 'writeFileSync', 'copyFileSync', 'mkdirSync', 'symlinkSync', 'linkSync'],
  EROFS: [...FILE_CHANGES, 'chownSync'],
} as const;

/** While `act` is under way the disk has the fault from the n-th change on. False: there were fewer. */
async function withFault(code: keyof typeof REFUSED, n: number, act: () => Promise<void>): Promise<boolean> {
  let left = n;
  const refuse = (args: unknown[], syscall: string): void => {
    // What is only read can be read; locks are SQLite's.
    if (syscall.startsWith('open') && (args[1] === 'r' || args[1] === undefined)) return;
    if (--left <= 0) throw Object.assign(new Error(`${code}: no good, ${syscall} '${args[0]}'`), { code, syscall });
  };
  const spies = [
    ...REFUSED[code].map((name) => {
      const real = fs[name] as (...args: unknown[]) => unknown;
      return vi.spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
        refuse(args, name);
        return real(...args);
      }) as never);
    }),
    (() => {
      const real = fs.promises.open;
      return vi.spyOn(fs.promises, 'open').mockImplementation((async (...args: Parameters<typeof real>) => {
        refuse(args, 'open');
        return real(...args);
      }) as never);
    })(),
  ];
  try {
    await act();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return left <= 0;
}

describe('on a disk that is', () => {
  const WORDS = /make room and try again|mounted read-only/;

  it.each(['ENOSPC', 'EROFS'] as const)(
    'at fault (%s) from any change on, an update says so and is done whole or not at all',
    {
      timeout: 600_000,
    },
    async (code) => {
      await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
      const request = requestFor(await bundle('2.0.0'));
      let failed = 0;
      for (let n = 1, faulty = true; faulty; n++) {
        let error: Error | null = null;
        faulty = await withFault(code, n, () =>
          applyUpdate(request, hooks()).then(
            () => {},
            (fault) => {
              error = fault;
            },
          ),
        );
        if (error !== null) {
          failed++;
          // Of the lock, which is a database, the store says it with its help.
          const { message, code: kind } = error as OperatingError | StoreError;
          const said = kind === 'store_unwritable' || kind === 'store_full' ? 'make room and try again' : message;
          expect([n, said]).toEqual([n, expect.stringMatching(WORDS)]);
        }
        // Whatever it was left as, the services run; and the next start puts right what could not be.
        expect([n, running]).toEqual([n, current()]);
        recoverUpdate(root);
        const found = state();
        expect([n, found]).toEqual([n, found === '2.0.0' ? '2.0.0' : '1.0.0']);
        if (error === null) expect([n, found]).toEqual([n, '2.0.0']);
        if (found === '2.0.0') await rollbackUpdate(root, hooks());
        expect([n, state()]).toEqual([n, '1.0.0']);
      }
      expect(failed).toBeGreaterThan(20);
      await applyUpdate(request, hooks());
      expect([state(), leftovers()]).toEqual(['2.0.0', []]);
    },
  );

  it.skipIf(process.getuid?.() !== 0)('really full, sooner or later, or read-only', { timeout: 600_000 }, async () => {
    const disk = at('disk');
    fs.mkdirSync(disk);
    const mount = (...options: string[]) => execFileSync('mount', [...options, disk]);
    mount('-t', 'tmpfs', '-o', 'size=64m', 'tmpfs');
    try {
      fs.cpSync(data, path.join(disk, 'data'), { recursive: true });
      [root, data] = [path.join(disk, 'opt'), path.join(disk, 'data')];
      await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
      const file = await bundle('2.0.0');
      const used = () =>
        Number(execFileSync('df', ['--output=used', '--block-size=1', disk], { encoding: 'utf8' }).split('\n')[1]);
      let refused = 0;
      for (let room = 0; ; room += 48 << 10) {
        mount('-o', `remount,size=${used() + room}`);
        const said = await applyUpdate(requestFor(file), hooks()).then(
          () => '',
          (error: Error) => error.message,
        );
        expect([room, running]).toEqual([room, current()]);
        if (said === '') break;
        refused++;
        expect([room, said]).toEqual([room, expect.stringMatching(/make room|is full/)]);
        mount('-o', 'remount,size=64m');
        recoverUpdate(root);
        expect([room, state(), leftovers()]).toEqual([room, '1.0.0', []]);
      }
      expect(refused).toBeGreaterThan(3);
      mount('-o', 'remount,size=64m');
      expect(state()).toBe('2.0.0');
      mount('-o', 'remount,ro');
      await expect(applyUpdate(requestFor(file), hooks())).rejects.toThrow(/read-only/);
      mount('-o', 'remount,rw');
      await applyUpdate(requestFor(await bundle('3.0.0')), hooks());
      expect(state()).toBe('3.0.0');
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});

it('killed before any change to the file system, an update, its recovery and a rollback are done whole or not at all', {
  timeout: 600_000,
}, async () => {
  await applyUpdate(requestFor(await bundle('1.0.0')), hooks());
  const request = requestFor(await bundle('2.0.0'));
  const seen: Record<string, number> = { '1.0.0': 0, '2.0.0': 0 };
  for (let n = 5, killed = true; killed; n += 4) {
    killed = await killedAt(n, request, 'await applyUpdate(request, hooks);');
    // Whoever recovers is killed too, now and then.
    if (n % 2 === 1) await killedAt(1 + (n % 17), request, 'recoverUpdate(request.root);');
    recoverUpdate(root);
    const found = state();
    expect([n, found]).toEqual([n, found === '2.0.0' ? '2.0.0' : '1.0.0']);
    seen[found]++;
    if (found === '2.0.0') {
      await killedAt(1 + (n % 29), request, 'await rollbackUpdate(request.root, hooks);');
      recoverUpdate(root);
      if (state() === '2.0.0') await rollbackUpdate(root, hooks());
      expect([n, state()]).toEqual([n, '1.0.0']);
    }
  }
  expect(seen['1.0.0']).toBeGreaterThan(10);
  expect(seen['2.0.0']).toBeGreaterThan(0);
  await applyUpdate(request, hooks());
  expect([state(), leftovers(), fs.readdirSync(data).filter((name) => name.startsWith('update-')).length]).toEqual([
    '2.0.0',
    [],
    1,
  ]);
});
