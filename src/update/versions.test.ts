import { expect, test } from 'vitest';
import { compareVersions, isVersion } from './versions.ts';

test('versions are ordered as Semantic Versioning 2.0.0, 11, says', () => {
  const ordered = [
    '0.9.0',
    '0.10.0',
    '1.0.0-alpha',
    '1.0.0-alpha.1',
    '1.0.0-alpha.beta',
    '1.0.0-beta',
    '1.0.0-beta.2',
    '1.0.0-beta.11',
    '1.0.0-rc.1',
    '1.0.0',
    '1.0.1',
  ];
  for (const [i, a] of ordered.entries())
    for (const [j, b] of ordered.entries()) expect([a, b, Math.sign(compareVersions(a, b))]).toEqual([a, b, Math.sign(i - j)]);
  expect(compareVersions('1.0.0+a', '1.0.0+b')).toBe(0);
});

test('a version is three numbers, with what may follow', () => {
  for (const yes of ['0.1.0', '10.20.30-rc.1+5']) expect(isVersion(yes)).toBe(true);
  for (const no of ['', '1', '1.2', '../1.2.3', '1.2.3/x', '1.2.3 ', 'v1.2.3', `1.2.3-${'x'.repeat(90)}`])
    expect(isVersion(no)).toBe(false);
});
