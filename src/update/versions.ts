/** Less than 0: `a` is older; 0: the same; more: newer. As Semantic Versioning 2.0.0, 11, orders them. Both must be versions. */
export function compareVersions(a: string, b: string): number {
  const [one, other] = [a, b].map(parts);
  for (let i = 0; i < 3; i++) if (one.numbers[i] !== other.numbers[i]) return one.numbers[i] - other.numbers[i];
  if (one.pre.length === 0 || other.pre.length === 0) return other.pre.length - one.pre.length;
  for (let i = 0; i < Math.max(one.pre.length, other.pre.length); i++) {
    const [left, right] = [one.pre[i], other.pre[i]];
    if (left === right) continue;
    if (left === undefined) return -1;
    if (right === undefined) return 1;
    const numbers = [left, right].map((part) => (/^\d+$/.test(part) ? Number(part) : null));
    if (numbers[0] !== null && numbers[1] !== null) return numbers[0] - numbers[1];
    if (numbers[0] !== null) return -1;
    if (numbers[1] !== null) return 1;
    return left < right ? -1 : 1;
  }
  return 0;
}

export const isVersion = (text: string): boolean => text.length <= 64 && VERSION.test(text);

const VERSION = /^(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;

function parts(version: string): { numbers: number[]; pre: string[] } {
  const match = VERSION.exec(version);
  if (match === null) throw new RangeError(`${version} is not a version`);
  return { numbers: match.slice(1, 4).map(Number), pre: match[4]?.split('.') ?? [] };
}
