import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { regenerated } from './readme.ts';

test("README's generated tables are what the declarations say; if not: npm run readme", () => {
  const text = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  expect(text).toBe(regenerated(text));
});
