import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type Scalar } from 'yaml';
import { didYouMean, type Fault, type FaultCode } from './fault.ts';

const MAX_FAULTS = 200;

export type Entry = { key: Scalar; value: Node | null };

/** A YAML file of the operator's, read into a checked model with the place of every fault and not only of the first. */
export abstract class YamlReader {
  protected readonly text: string;
  private readonly lines = new LineCounter();
  private readonly faults: Fault[] = [];
  private readonly max_length: number;
  protected document!: Document;

  constructor(text: string, max_length: number) {
    this.text = text;
    this.max_length = max_length;
  }

  /** Never throws on any text. The model is null where there is any fault; faults come in the order of the file. */
  protected readWhole<Model>(read: () => Model | null): { model: Model | null; faults: Fault[] } {
    let model: Model | null = null;
    if (this.text.length > this.max_length) this.at(0, 'limit', `the file is longer than ${this.max_length} characters`);
    else if (this.parse()) model = read();
    this.faults.sort((a, b) => a.line - b.line || a.column - b.column);
    return { model: this.faults.length > 0 ? null : model, faults: this.faults };
  }

  /** May a list of this key be left empty without that being a fault? */
  protected mayBeEmpty(_key: string): boolean {
    return true;
  }

  private parse(): boolean {
    try {
      this.document = parseDocument(this.text, { lineCounter: this.lines, prettyErrors: false, stringKeys: true });
    } catch (error) {
      // The YAML reader recurses: nesting without end exhausts its stack.
      const message = error instanceof RangeError ? 'nested too deeply' : (error as Error).message;
      this.faults.push({ severity: 'fault', code: 'yaml', message, line: 1, column: 1 });
      return false;
    }
    for (const { pos, message } of [...this.document.errors, ...this.document.warnings]) this.at(pos[0], 'yaml', message);
    return this.document.errors.length === 0;
  }

  protected resolve(node: Node | null | undefined): Node | null {
    if (isAlias(node)) return (node.resolve(this.document) as Node | undefined) ?? null;
    return node ?? null;
  }

  /** The entries of a mapping by key, after a fault for each key that is not known; null where it is no mapping. */
  protected entries(node: Node | null, what: string, known: readonly string[]): Map<string, Entry> | null {
    const map = this.resolve(node);
    if (!isMap(map)) {
      if (node) this.fault(node, 'structure', `${what} is a mapping with the keys ${known.join(', ')}`);
      else this.at(0, 'structure', `the file is empty; ${what} has the keys ${known.join(', ')}`);
      return null;
    }
    const entries = new Map<string, Entry>();
    for (const { key, value } of map.items) {
      if (!isScalar(key)) {
        this.fault(node!, 'structure', `${what} has keys that are words`);
        continue;
      }
      const name = scalarText(key);
      if (known.includes(name)) entries.set(name, { key, value: value as Node | null });
      else this.fault(key, 'unknown_key', `${what} has no key "${name}"${didYouMean(name, known)}`);
    }
    return entries;
  }

  /** The items of a list; a single value stands for a list of one. An empty list is a fault where it would match nothing. */
  protected items(entry: Entry | undefined, key: string, limit: number): Node[] {
    if (!entry) return [];
    const value = this.resolve(entry.value);
    const nothing = value === null || (isScalar(value) && value.value === null) || (isSeq(value) && value.items.length === 0);
    if (nothing && this.mayBeEmpty(key)) return [];
    const items = isSeq(value) ? (value.items as (Node | null)[]) : [entry.value];
    if (items.length > limit) this.fault(entry.key, 'limit', `"${key}" has ${items.length} entries; the limit is ${limit}`);
    const found = items.slice(0, limit).filter((item): item is Node => {
      const resolved = this.resolve(item);
      return resolved !== null && !(isScalar(resolved) && (resolved.value === null || scalarText(resolved) === ''));
    });
    if (found.length < Math.min(items.length, limit))
      this.fault(entry.value ?? entry.key, 'value', `"${key}" has an empty entry`);
    else if (items.length === 0) this.fault(entry.value ?? entry.key, 'value', `"${key}" is empty`);
    return found;
  }

  /** The text of a single value, as written; '' after a fault. */
  protected scalar(entry: Entry): string {
    const value = this.resolve(entry.value);
    if (isScalar(value)) return scalarText(value);
    this.fault(entry.value ?? entry.key, 'structure', `"${String(entry.key.value)}" is a single value`);
    return '';
  }

  protected text_(node: Node, what: string): string | null {
    const value = this.resolve(node);
    if (isScalar(value)) return scalarText(value);
    this.fault(node, 'structure', `expected ${what}`);
    return null;
  }

  /**
   * Where in the file a column of a text is. Folding, indentation and quotes change only white space and add marks around it, so the
   * place is found by counting the characters that are not white space.
   */
  protected offsetIn(scalar: Scalar, column: number): number {
    const start = scalar.range?.[0] ?? 0;
    const end = scalar.range?.[1] ?? start;
    const text = String(scalar.value);
    let position = start;
    if (scalar.type === 'QUOTE_DOUBLE' || scalar.type === 'QUOTE_SINGLE') position++;
    else if (scalar.type === 'BLOCK_LITERAL' || scalar.type === 'BLOCK_FOLDED') position = this.text.indexOf('\n', start) + 1;
    let before = text.slice(0, column - 1).replace(/\s+/g, '').length;
    const quoted = scalar.type === 'QUOTE_DOUBLE' || scalar.type === 'QUOTE_SINGLE';
    for (; position < end; position++) {
      const character = this.text[position];
      if (/\s/.test(character)) continue;
      if (before === 0) return position;
      before--;
      // \" and \\ in double quotes, '' in single quotes stand for one character.
      if (quoted && character === (scalar.type === 'QUOTE_DOUBLE' ? '\\' : "'")) position++;
    }
    return Math.max(start, end - (quoted ? 1 : 0));
  }

  protected position(offset: number): { line: number; column: number } {
    const { line, col } = this.lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
  protected place(node: Node): { line: number; column: number } {
    return this.position(node.range?.[0] ?? 0);
  }
  protected fault(node: Node, code: FaultCode, message: string): void {
    this.at(node.range?.[0] ?? 0, code, message);
  }
  protected at(offset: number, code: FaultCode, message: string): void {
    this.push({ severity: 'fault', code, message, ...this.position(offset) });
  }
  protected push(fault: Fault): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push(fault);
    else if (this.faults.length === MAX_FAULTS)
      this.faults.push({ ...fault, code: 'limit', message: 'too many faults; those behind this one are not shown' });
  }
}

/** As written in the file, so that 10 and 010 and 1.10 stay what they are. */
export const scalarText = (scalar: Scalar): string =>
  typeof scalar.value === 'string' ? scalar.value : (scalar.source ?? String(scalar.value ?? ''));
