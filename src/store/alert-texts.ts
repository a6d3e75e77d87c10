import type { ReadConnection } from './read-connection.ts';

const CHUNK = 65_536;
/** Numbers of texts an alert: what is said, source, destination. */
const WIDTH = 3;
const AT_ONCE = 500;
/** Of different texts, about as many bytes. */
const MAX_CHARACTERS = 32 << 20;
/** Of them for older alerts: the rest is for those that come. */
const MAX_CHARACTERS_OF_OLDER = MAX_CHARACTERS * 0.9;

/**
 * Which alerts may hold a text, without reading them: most of a million say the same few things of a few thousand addresses, so that the
 * different texts and a number of each alert are 12 MB and some, and are looked through in a few milliseconds. It is made of what never
 * changes in an alert. Bounded: where nearly every text is another it knows the newest alerts alone, from `low` to `high`.
 */
export class AlertTexts {
  low = 1;
  high = 0;
  private readonly db: ReadConnection;
  private readonly max_characters: number;
  private chunks = new Map<number, Uint32Array>();
  /** From 1: 0 is an alert that is not there. */
  private numbers = new Map<string, number>();
  /** By number, in small letters. */
  private texts: string[] = [''];
  private characters = 0;
  private found = { text: '', holding: new Uint8Array() };

  constructor(db: ReadConnection, max_characters = MAX_CHARACTERS) {
    this.db = db;
    this.max_characters = max_characters;
  }

  /** Takes in some alerts that it does not know yet, new ones first, then older ones. False where there are none, or no room for them. */
  takeIn(count: number): boolean {
    const { first, last } = this.db.one<{ first: number | null; last: number | null }>(
      'SELECT (SELECT min(id) FROM alerts) AS first, (SELECT max(id) FROM alerts) AS last',
    )!;
    if (first === null || last === null) return false;
    if (this.characters > this.max_characters) this.forget();
    if (this.high === 0) {
      this.high = last;
      this.low = last + 1;
    }
    if (last > this.high) {
      const to = Math.min(last, this.high + count);
      this.read(this.high + 1, to);
      this.high = to;
      return true;
    }
    const room = (MAX_CHARACTERS_OF_OLDER / MAX_CHARACTERS) * this.max_characters;
    if (first >= this.low || this.characters >= room) return false;
    const from = Math.max(first, this.low - count);
    this.read(from, this.low - 1);
    this.low = from;
    return true;
  }

  /** Ids between two that it knows, both of them part of it, of alerts that may hold the text; some at a time. Ascii's cases are one. */
  *candidates(text: string, from: number, to: number, descending: boolean): Generator<number[]> {
    const holding = this.textsWith(text);
    // Those that are known now: all may be forgotten while somebody goes through them.
    const { chunks } = this;
    const step = descending ? -1 : 1;
    let ids: number[] = [];
    for (let id = descending ? to : from; id >= from && id <= to; id += step) {
      const chunk = chunks.get(Math.floor(id / CHUNK));
      const at = (id % CHUNK) * WIDTH;
      if (chunk === undefined || holding[chunk[at]] + holding[chunk[at + 1]] + holding[chunk[at + 2]] === 0) continue;
      ids.push(id);
      if (ids.length < AT_ONCE) continue;
      yield ids;
      ids = [];
    }
    if (ids.length > 0) yield ids;
  }

  private forget(): void {
    this.chunks = new Map();
    this.numbers = new Map();
    this.texts = [''];
    this.characters = 0;
    this.low = 1;
    this.high = 0;
    this.found = { text: '', holding: new Uint8Array() };
  }

  private read(from: number, to: number): void {
    const rows = this.db.all<{ id: number; said: string; source: string; destination: string }>(
      `SELECT id, title || char(0) || description || char(0) || details AS said, source_ip || char(0) || source_mac AS source,
       destination_ip || char(0) || destination_mac AS destination FROM alerts WHERE id BETWEEN ? AND ?`,
      [from, to],
    );
    for (const { id, said, source, destination } of rows) {
      const key = Math.floor(id / CHUNK);
      let chunk = this.chunks.get(key);
      if (chunk === undefined) {
        chunk = new Uint32Array(CHUNK * WIDTH);
        this.chunks.set(key, chunk);
      }
      const at = (id % CHUNK) * WIDTH;
      chunk[at] = this.numberOf(said);
      chunk[at + 1] = this.numberOf(source);
      chunk[at + 2] = this.numberOf(destination);
    }
  }

  private numberOf(text: string): number {
    const known = this.numbers.get(text);
    if (known !== undefined) return known;
    const number = this.texts.push(lowered(text)) - 1;
    this.numbers.set(text, number);
    this.characters += text.length;
    return number;
  }

  /** By number; kept for the next page. */
  private textsWith(text: string): Uint8Array {
    const wanted = lowered(text);
    const { texts, found } = this;
    if (found.text === wanted && found.holding.length === texts.length) return found.holding;
    const holding = new Uint8Array(texts.length);
    for (let number = 1; number < texts.length; number++) if (texts[number].includes(wanted)) holding[number] = 1;
    this.found = { text: wanted, holding };
    return holding;
  }
}

/** As LIKE of SQLite has it: letters of ASCII alone. */
const lowered = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
