import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

// What ARCHITECTURE.md promises of the whole code, read from the sources.

const ROOT = path.resolve(import.meta.dirname, '..');
const TEST_ONLY = /(\.test|\/testing|\/conformance|\/fake-plant|\/shard-bench)\.ts$/;

interface Source {
  file: string;
  text: string;
  /** The code without comments and without what stands in quotes. */
  code: string;
  imports: string[];
  /** Of these, what leaves nothing in the built code: `import type`. */
  types: Set<string>;
}

function sources(folder: string): Source[] {
  return fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((file) => path.posix.join(folder, file))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .sort()
    .map((file) => read(file, fs.readFileSync(path.join(ROOT, file), 'utf8')));
}

function read(file: string, text: string): Source {
  const bare = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$|\s\/\/ .*$/gm, '');
  const imports = [...bare.matchAll(/(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*['"]([^'"]+)['"]/g)].map((match) => match[1]);
  imports.push(...[...bare.matchAll(/(?:^|[^.\w])(?:import|require)\s*\(?\s*['"]([^'"]+)['"]/g)].map((match) => match[1]));
  const types = new Set(
    [...bare.matchAll(/(?:^|\n)\s*(?:import|export) type\b[^;'"]*?from\s*['"]([^'"]+)['"]/g)].map((match) => match[1]),
  );
  return { file, text, types, code: bare.replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''"), imports };
}

const SRC = sources('src');
const DISSECTORS = sources('dissectors');
const shipped = (all: readonly Source[]) => all.filter(({ file }) => !TEST_ONLY.test(file));
const inFolders = (...folders: string[]) => shipped(SRC).filter(({ file }) => folders.includes(file.split('/')[1]));

/** Files and what is wrong in them. */
const violations = (all: readonly Source[], check: (source: Source) => string[]): string[] =>
  all.flatMap((source) => check(source).map((what) => `${source.file}: ${what}`));

/** Where an import leads, from the root of the repository; the import itself for packages and Node's own modules. */
const target = ({ file }: Source, specifier: string): string =>
  specifier.startsWith('.') ? path.posix.join(path.posix.dirname(file), specifier) : specifier;

const isNode = (specifier: string) => specifier.startsWith('node:') || builtinModules.includes(specifier);

test('the reader of sources sees imports, and neither comments nor text', () => {
  const source = read(
    'src/x.ts',
    "/* import a from 'a'; Date.now() */\nimport {\n  b,\n} from './b.ts';\nexport * from '../c.ts';\nconst d = await import('node:fs'); // Date.now()\nconst e = 'console.log';\nimport 'f';\n",
  );
  expect(source.imports.sort()).toEqual(['../c.ts', './b.ts', 'f', 'node:fs']);
  expect(source.code).not.toMatch(/Date|console/);
  expect(SRC.length).toBeGreaterThan(100);
  expect(DISSECTORS.length).toBeGreaterThan(20);
  expect(SRC.find(({ file }) => file === 'src/engine/shard.ts')!.imports).toContain('../dissect/registry.ts');
});

describe('dissectors', () => {
  test('import the contract and each other, nothing else', () => {
    const wrong = violations(shipped(DISSECTORS), (source) =>
      source.imports.filter((specifier) => {
        const to = target(source, specifier);
        return to !== 'src/dissect/index.ts' && !to.startsWith('dissectors/');
      }),
    );
    expect(wrong).toEqual([]);
  });

  test('are known to the list alone', () => {
    const allowed = /^src\/(sensor\/zone-of|appliance\/zone-policies|engine\/worker|setup\/readme)\.ts$|^src\/cli\/|\.test\.ts$/;
    const wrong = violations(SRC, (source) =>
      source.imports.filter((s) => target(source, s).startsWith('dissectors/')).filter(() => !allowed.test(source.file)),
    );
    expect(wrong).toEqual([]);
    const deep = violations(SRC, (source) => source.imports.filter((s) => /^dissectors\/(?!index\.ts$)/.test(target(source, s))));
    expect(deep).toEqual([]);
  });
});

describe('decode, flow, dissect, policy, detect, inventory and the dissectors', () => {
  // tshark.ts runs tshark for tests and for the comparison a developer makes.
  const pure = [...inFolders('decode', 'flow', 'dissect', 'policy', 'detect', 'inventory'), ...shipped(DISSECTORS)].filter(
    ({ file }) => file !== 'src/dissect/tshark.ts',
  );

  test('do no I/O', () => {
    // Libraries that reckon: addresses and YAML text.
    const allowed = new Set(['ipaddr.js', 'yaml']);
    const wrong = violations(pure, (source) =>
      source.imports.filter((specifier) => isNode(specifier) || (!specifier.startsWith('.') && !allowed.has(specifier))),
    );
    expect(wrong).toEqual([]);
    const globals = violations(
      pure,
      ({ code }) => code.match(/\b(process|fetch|setTimeout|setInterval|setImmediate)\b\s*[.(]/g) ?? [],
    );
    expect(globals).toEqual([]);
  });

  test('read no clock and draw no random number', () => {
    const wrong = violations(
      pure,
      ({ code }) => code.match(/Date\.now\b|performance\.|new Date\(\s*\)|Math\.random\b|\bDate\(\s*\)/g) ?? [],
    );
    expect(wrong).toEqual([]);
  });

  test('know nothing of capture files, threads, the store or the command line', () => {
    const wrong = violations(pure, (source) =>
      source.imports.filter((specifier) => {
        const to = target(source, specifier);
        // The shape of what is stored is a declaration.
        if (source.types.has(specifier) || to === 'src/store/change-set.ts') return false;
        if (/^src\/(cli|store|sensor|log|setup)/.test(to)) return true;
        // The memory of the packets is the decoder's input.
        return /^src\/(capture|engine)\//.test(to) && !(to === 'src/capture/batch.ts' && source.file.startsWith('src/decode/'));
      }),
    );
    expect(wrong).toEqual([]);
  });
});

describe('the store', () => {
  // What people decided lies in a database of its own, `appliance.db`, with tables of its own.
  const appliance = /^src\/(appliance|users|forward|backup)\//;

  test('is opened by its own folder only, copied by backups, and written by what was seen and what people say of it', () => {
    const opens = violations(shipped(SRC), (source) => source.imports.filter((specifier) => specifier === 'better-sqlite3')).map(
      (wrong) => wrong.split(':')[0],
    );
    const may =
      /^src\/(store\/(writer|operator|read-connection|migrations)|appliance\/(database|exclusions)|backup\/(create|lock|restore|verify))\.ts$/;
    expect(opens.filter((file) => !may.test(file))).toEqual([]);
    const writes = /\b(INSERT (OR \w+ )?INTO|UPDATE \S+ SET|DELETE FROM|REPLACE INTO|CREATE (TABLE|INDEX)|DROP |ALTER )/;
    const writers = shipped(SRC).filter(({ text }) => writes.test(text));
    const files = writers.map(({ file }) => file);
    expect(files.filter((file) => !appliance.test(file))).toEqual([
      'src/store/migrations.ts',
      'src/store/operator.ts',
      'src/store/writer.ts',
    ]);
    const tables = (file: string) =>
      [...read(file, fs.readFileSync(path.join(ROOT, file), 'utf8')).text.matchAll(/CREATE TABLE (\w+)/g)].map(
        (match) => match[1],
      );
    const of_the_sensor = tables('src/store/migrations.ts');
    const own = violations(
      writers.filter(({ file }) => appliance.test(file)),
      ({ text }) =>
        [...text.matchAll(/(?:INTO|UPDATE|FROM) (\w+)/g)]
          .map((match) => match[1])
          .filter((table) => of_the_sensor.includes(table)),
    );
    expect(own).toEqual([]);
    expect(tables('src/appliance/database.ts').filter((table) => of_the_sensor.includes(table))).toEqual([]);
  });

  test('is read over a connection that cannot write', () => {
    expect(SRC.find(({ file }) => file === 'src/store/read-connection.ts')!.text).toMatch(/readonly: true/);
  });
});

test('nothing that is shipped writes to the console', () => {
  expect(violations([...shipped(SRC), ...shipped(DISSECTORS)], ({ code }) => code.match(/\bconsole\.\w+/g) ?? [])).toEqual([]);
});

test('what only tests need is imported by tests only', () => {
  const wrong = violations([...shipped(SRC), ...shipped(DISSECTORS)], (source) =>
    source.imports.filter((s) => TEST_ONLY.test(target(source, s))),
  );
  expect(wrong).toEqual([]);
});

test('no import leads out of the repository, and every one ends in .ts, .js or .json', () => {
  const all = [...SRC, ...DISSECTORS, ...sources('fixtures'), ...sources('bench')];
  const wrong = violations(all, (source) =>
    source.imports.filter((specifier) => {
      if (!specifier.startsWith('.')) return path.isAbsolute(specifier);
      const to = target(source, specifier);
      return to.startsWith('..') || !/\.(ts|mjs|js|json)$/.test(to);
    }),
  );
  expect(wrong).toEqual([]);
});

test('no tracked file names a path of a machine or a package host', () => {
  // Where there is no history (an unpacked archive) there is nothing to list.
  if (!fs.existsSync(path.join(ROOT, '.git')))
    return console.warn('SKIPPED: not a git checkout, so there is no list of tracked files');
  const files = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0').filter(Boolean);
  expect(files).toContain('package.json');
  const paths = /(?<![\w.~])\/(work|root|home\/[a-z]\w*|Users\/\w+)\/|[A-Z]:\\\\?Users/;
  const hosts =
    /"resolved":|https?:\/\/(registry|repo|mirrors?|artifacts?|nexus|packages|npm|pypi|proxy)\.[\w.-]+|^\s*registry\s*=/m;
  const wrong: string[] = [];
  for (const file of files) {
    if (file === 'src/invariants.test.ts' || !fs.existsSync(path.join(ROOT, file))) continue;
    const bytes = fs.readFileSync(path.join(ROOT, file));
    if (bytes.subarray(0, 4096).includes(0)) continue;
    const text = bytes.toString();
    for (const pattern of [paths, hosts]) {
      const found = pattern.exec(text);
      if (found) wrong.push(`${file}: ${found[0]}`);
    }
  }
  expect(wrong).toEqual([]);
});
