import type { Range } from './lists.ts';

/** WHERE, grown clause by clause; every value is bound, never written into the text. */
export class Where {
  readonly clauses: string[] = [];
  readonly values: unknown[] = [];

  and(clause: string, ...values: unknown[]): this {
    this.clauses.push(`(${clause})`);
    this.values.push(...values);
    return this;
  }

  /** Nothing where the value is not given; a list means any of it. */
  equal(column: string, value: string | number | string[] | undefined): this {
    if (value === undefined) return this;
    // One value of an index is in the order of the ids already; of several the rows would be sorted.
    if (!Array.isArray(value) || value.length === 1) return this.and(`${column} = ?`, ...[value].flat());
    return this.and(value.length ? `${column} IN (${value.map(() => '?').join(', ')})` : 'FALSE', ...value);
  }

  /** The text stands in one of the columns. `also`: a further clause that takes the pattern once. */
  text(value: string | undefined, columns: string[], also = ''): this {
    if (value === undefined || value === '') return this;
    const pattern = `%${value.replace(/[\\%_]/g, '\\$&')}%`;
    const clauses = columns.map((column) => `${column} LIKE ? ESCAPE '\\'`);
    if (also) clauses.push(also);
    return this.and(clauses.join(' OR '), ...clauses.map(() => pattern));
  }

  range(filter: Range, first = 'first_ms', last = 'last_ms'): this {
    if (filter.since_ms !== undefined) this.and(`${last} >= ?`, filter.since_ms);
    if (filter.until_ms !== undefined) this.and(`${first} <= ?`, filter.until_ms);
    return this;
  }

  toString(): string {
    return this.clauses.length ? `WHERE ${this.clauses.join(' AND ')}` : '';
  }
}

/** `00-11-22-AA-BB-CC`, `0011.22aa.bbcc` and the like as it is stored. */
export function macText(mac: string): string {
  const digits = mac.toLowerCase().replace(/[^0-9a-f]/g, '');
  return digits.length === 12 ? digits.replace(/..(?=.)/g, '$&:') : mac.toLowerCase();
}
