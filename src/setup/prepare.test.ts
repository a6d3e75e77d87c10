import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PREPARE = path.join(ROOT, 'src/setup/prepare.mjs');

/** A checkout of a few files, with this one's compiler; its `npm` is a script that writes down how it was called. */
let checkout: string;
let bin: string;
const at = (name: string): string => path.join(checkout, name);
const read = (name: string): string => fs.readFileSync(at(name), 'utf8');
const exists = (name: string): boolean => fs.existsSync(at(name));
function write(name: string, content: string): void {
  fs.mkdirSync(path.dirname(at(name)), { recursive: true });
  fs.writeFileSync(at(name), content);
}
const npmCalls = (): string[] => (exists('npm-calls') ? read('npm-calls').trim().split('\n') : []);

function prepare(): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const code = `const { prepare } = await import(${JSON.stringify(pathToFileURL(PREPARE).href)}); prepare(process.argv[1]);`;
  const { CI: _, ...inherited } = process.env;
  const env = { ...inherited, PATH: `${bin}:${process.env.PATH}` };
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, checkout], { env });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes;
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

async function prepared(): Promise<string> {
  const { code, stdout, stderr } = await prepare();
  expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: '' });
  return stderr;
}

beforeEach(() => {
  checkout = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-setup-'));
  bin = at('fake-bin');
  const modules = path.join(ROOT, 'node_modules');
  // What `npm ci` does: it takes node_modules away and makes it anew.
  write(
    'fake-bin/npm',
    `#!/bin/sh
echo "$@" >> npm-calls
[ -e npm-fails ] && exit 7
rm -rf node_modules && mkdir -p node_modules/@types
ln -s '${modules}/typescript' '${modules}/@typescript' '${modules}/protobufjs' '${modules}/protobufjs-cli' '${modules}/long' node_modules/
ln -s '${modules}/@types/node' node_modules/@types/
sleep 0.5
`,
  );
  fs.chmodSync(at('fake-bin/npm'), 0o755);
  write('package.json', JSON.stringify({ name: 'ot-sensor', type: 'module', scripts: { x: 'y' }, dependencies: { a: '1' } }));
  write('package-lock.json', '{}');
  write('src/setup/prepare.mjs', '');
  for (const name of ['tsconfig.json', 'tsconfig.build.json']) fs.copyFileSync(path.join(ROOT, name), at(name));
  write('src/proto/facts.proto', 'syntax = "proto3";\nmessage Fact { uint32 frame = 1; }\n');
  write('src/proto/api.proto', 'syntax = "proto3";\nmessage Page { uint32 count = 1; }\n');
  write('src/cli/main.ts', `import { word } from '../other.ts';\nconsole.log(word);\n`);
  write('src/other.ts', `export const word: string = 'one';\n`);
  write('src/other.test.ts', `export const test = 1;\n`);
});
afterEach(() => fs.rmSync(checkout, { recursive: true, force: true }));

describe('prepare', () => {
  it('installs, generates, builds without the tests, and links the program', async () => {
    expect(await prepared()).toMatch(/^ot-sensor: installing dependencies .*\not-sensor: building …\n/);
    expect(npmCalls()).toEqual(['ci --no-audit --no-fund --loglevel=error']);
    expect(read('dist/src/cli/main.js')).toContain(`from '../other.js'`);
    expect(read('dist/program/main.js')).toMatch(/console\.log\(.one.\)/);
    expect(exists('dist/src/other.test.js')).toBe(false);
    expect(read('dist/src/proto/facts.js')).toBe(read('src/proto/facts.js'));
    expect(exists('src/proto/facts.d.ts')).toBe(true);
    expect(fs.realpathSync(at('node_modules/.bin/ot-sensor'))).toBe(fs.realpathSync(at('dist/program/main.js')));
    expect(fs.statSync(at('dist/program/main.js')).mode & 0o111).toBe(0o111);
    expect(exists('dist/.lock')).toBe(false);
  });

  it('does not repeat what is up to date', async () => {
    await prepared();
    const before = fs.statSync(at('dist/program/main.js')).mtimeMs;
    expect(await prepared()).toBe('');
    expect(npmCalls()).toHaveLength(1);
    expect(fs.statSync(at('dist/program/main.js')).mtimeMs).toBe(before);
  });

  it('builds again after a change of a source, a new one and the compiler options, and only builds', async () => {
    await prepared();
    write('src/other.ts', `export const word: string = 'two';\n`);
    expect(await prepared()).toBe('ot-sensor: building …\n');
    expect(read('dist/src/other.js')).toContain('two');
    write('src/third.ts', 'export const third = 3;\n');
    expect(await prepared()).toBe('ot-sensor: building …\n');
    expect(exists('dist/src/third.js')).toBe(true);
    write('tsconfig.json', read('tsconfig.json').replace('"es2023"', '"es2022"'));
    expect(await prepared()).toBe('ot-sensor: building …\n');
    expect(npmCalls()).toHaveLength(1);
  });

  it('generates code again after a change of the schema', async () => {
    await prepared();
    write('src/proto/facts.proto', 'syntax = "proto3";\nmessage Fact { uint32 frame = 1; uint32 another_one = 2; }\n');
    const later = new Date(Date.now() + 5000);
    fs.utimesSync(at('src/proto/facts.proto'), later, later);
    await prepared();
    expect(read('src/proto/facts.d.ts')).toContain('another_one');
    expect(read('dist/src/proto/facts.js')).toContain('another_one');
  });

  it('leaves nothing of a source that is gone', async () => {
    write('src/third.ts', 'export const third = 3;\n');
    await prepared();
    expect(exists('dist/src/third.js')).toBe(true);
    fs.rmSync(at('src/third.ts'));
    await prepared();
    expect(exists('dist/src/third.js')).toBe(false);
    expect(exists('dist/src/cli/main.js')).toBe(true);
  });

  it('makes what somebody took away', async () => {
    await prepared();
    fs.rmSync(at('dist'), { recursive: true });
    await prepared();
    expect(exists('dist/src/cli/main.js')).toBe(true);
    fs.rmSync(at('node_modules/.bin/ot-sensor'));
    expect(await prepared()).toBe('');
    expect(exists('node_modules/.bin/ot-sensor')).toBe(true);
  });

  it('says that a build failed, and does not take it for one that is finished, even when the change is taken back', async () => {
    await prepared();
    const good = read('src/other.ts');
    write('src/other.ts', `export const word: number = 'three';\n`);
    for (let times = 0; times < 2; times++) {
      const { code, stdout, stderr } = await prepare();
      expect(code).not.toBe(0);
      expect(stdout).toBe('');
      expect(stderr).toMatch(/other\.ts.*TS2322.*the build \(tsc\) failed \(exit code \d\); why is said above\n$/s);
      expect(exists('dist/.lock')).toBe(false);
    }
    write('src/other.ts', good);
    expect(await prepared()).toBe('ot-sensor: building …\n');
    expect(read('dist/src/other.js')).toContain('one');
  });

  it('installs again after a change of the lock file, not of the scripts', async () => {
    await prepared();
    write('package.json', read('package.json').replace('"y"', '"z"'));
    await prepared();
    expect(npmCalls()).toHaveLength(1);
    write('package-lock.json', '{"lockfileVersion":3}');
    expect(await prepared()).toMatch(/installing/);
    expect(npmCalls()).toHaveLength(2);
    // npm took the link away with the rest.
    expect(exists('node_modules/.bin/ot-sensor')).toBe(true);
  });

  it('says that installing failed, and tries again the next time', async () => {
    write('npm-fails', '');
    for (let times = 1; times <= 2; times++) {
      const { code, stderr } = await prepare();
      expect(code).toBe(7);
      expect(stderr).toMatch(/npm ci failed \(exit code 7\); why is said above\n$/);
      expect(npmCalls()).toHaveLength(times);
    }
    fs.rmSync(at('npm-fails'));
    await prepared();
  });

  it('is done once where several ask for it at the same time', async () => {
    const results = await Promise.all([prepare(), prepare(), prepare()]);
    for (const { code, stderr } of results) expect(code, stderr).toBe(0);
    expect(npmCalls()).toHaveLength(1);
    expect(results.filter(({ stderr }) => stderr.includes('building'))).toHaveLength(1);
    expect(results.filter(({ stderr }) => stderr.includes('waiting for it'))).not.toHaveLength(0);
    expect(exists('dist/.lock')).toBe(false);
  });

  it('takes the lock of a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    const pid = child.pid!;
    await new Promise((resolve) => child.on('close', resolve));
    write('dist/.lock', String(pid));
    await prepared();
    expect(fs.readdirSync(at('dist')).filter((name) => name.startsWith('.lock'))).toEqual([]);
  });
});
