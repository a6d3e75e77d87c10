/**
 * The condition language of conduits: text to a small tree of plain data. Names are resolved later (compile.ts).
 *
 *   condition  = and { "or" and }
 *   and        = not { "and" not }
 *   not        = "not" not | primary
 *   primary    = "(" condition ")" | "present" "(" field ")" | field comparator value | field "in" set
 *   comparator = "==" | "!=" | "<" | "<=" | ">" | ">="
 *   set        = item | "[" item { "," item } "]"
 *   item       = value [ ".." value ]            both ends are in the range
 *   field      = name [ "." name ]               record.field, or one of the common names
 *   value      = number | name | text            name: of an enumerated value, true, false
 *   number     = decimal (also -1, 2.5, 1e3) or 0x hexadecimal
 *   text       = "…" or '…', with \\ before a quote or a backslash
 *
 * Keywords are lower case. Columns count UTF-16 units from 1.
 */

export type Comparator = '==' | '!=' | '<' | '<=' | '>' | '>=';

export interface Literal {
  kind: 'number' | 'name' | 'text';
  /** As written, without quotes. */
  text: string;
  column: number;
}

export interface FieldName {
  /** null: a common name. */
  record: string | null;
  name: string;
  column: number;
}

export interface SetItem {
  from: Literal;
  /** null: the one value. */
  to: Literal | null;
}

export type Expression =
  | { kind: 'and' | 'or'; parts: Expression[] }
  | { kind: 'not'; part: Expression }
  | { kind: 'present'; field: FieldName }
  | { kind: 'compare'; field: FieldName; comparator: Comparator; value: Literal }
  | { kind: 'in'; field: FieldName; items: SetItem[] };

export interface RuleFault {
  column: number;
  message: string;
}

export type ParsedRule = { expression: Expression; fault: null } | { expression: null; fault: RuleFault };

export const MAX_RULE_LENGTH = 4000;
const MAX_DEPTH = 40;
const MAX_SET_ITEMS = 500;

type TokenKind = 'name' | 'number' | 'text' | 'comparator' | 'range' | 'punctuation' | 'end';

interface Token {
  kind: TokenKind;
  text: string;
  column: number;
}

/** Private to this file: thrown by the parser's functions, caught in `parseRule`. */
class Refused extends Error {
  readonly column: number;
  constructor(column: number, message: string) {
    super(message);
    this.column = column;
  }
}

const TOKENS: readonly [TokenKind, RegExp][] = [
  ['number', /-?0[xX][0-9a-fA-F]+(?![A-Za-z0-9_])/y],
  ['number', /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![A-Za-z0-9_])/y],
  ['name', /[A-Za-z_][A-Za-z0-9_]*/y],
  ['text', /"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*'/y],
  ['comparator', /==|!=|<=|>=|<|>/y],
  ['range', /\.\./y],
  ['punctuation', /[()[\],.]/y],
];
const BLANK = /\s+/y;
const KEYWORDS = new Set(['and', 'or', 'not', 'in', 'present']);
/** What people write out of habit. */
const INSTEAD: Record<string, string> = { '=': '==', '&&': 'and', '||': 'or', '!': 'not', '<>': '!=', '~': '==' };

function tokens(text: string): Token[] {
  const found: Token[] = [];
  let position = 0;
  while (position < text.length) {
    BLANK.lastIndex = position;
    const blank = BLANK.exec(text);
    if (blank) {
      position += blank[0].length;
      continue;
    }
    let token: Token | null = null;
    for (const [kind, pattern] of TOKENS) {
      pattern.lastIndex = position;
      const match = pattern.exec(text);
      if (match) {
        token = { kind, text: match[0], column: position + 1 };
        break;
      }
    }
    if (!token) {
      const character = String.fromCodePoint(text.codePointAt(position)!);
      if (character === '"' || character === "'") throw new Refused(position + 1, `this ${character} is not closed`);
      if (/[-\d]/.test(character)) throw new Refused(position + 1, 'this is not a number (text goes in quotes)');
      const instead = INSTEAD[text.slice(position, position + 2)] ?? INSTEAD[character];
      throw new Refused(position + 1, `"${character}" has no meaning here${instead ? ` (did you mean "${instead}"?)` : ''}`);
    }
    found.push(token);
    position += token.text.length;
  }
  found.push({ kind: 'end', text: '', column: text.length + 1 });
  return found;
}

class Parser {
  private readonly tokens: Token[];
  private next = 0;
  private depth = 0;

  constructor(text: string) {
    this.tokens = tokens(text);
  }

  whole(): Expression {
    const expression = this.condition();
    const token = this.peek();
    if (token.kind !== 'end') throw this.unexpected('"and", "or" or the end');
    return expression;
  }

  private condition(): Expression {
    if (++this.depth > MAX_DEPTH) throw new Refused(this.peek().column, `more than ${MAX_DEPTH} levels deep`);
    const expression = this.joined('or', () => this.joined('and', () => this.not()));
    this.depth--;
    return expression;
  }

  private joined(kind: 'and' | 'or', operand: () => Expression): Expression {
    const first = operand();
    if (!this.isName(kind)) return first;
    const parts = [first];
    while (this.takeName(kind)) parts.push(operand());
    return { kind, parts };
  }

  private not(): Expression {
    if (!this.takeName('not')) return this.primary();
    if (++this.depth > MAX_DEPTH) throw new Refused(this.peek().column, `more than ${MAX_DEPTH} levels deep`);
    const part = this.not();
    this.depth--;
    return { kind: 'not', part };
  }

  private primary(): Expression {
    if (this.take('(')) {
      const inner = this.condition();
      this.expect(')');
      return inner;
    }
    if (this.takeName('present')) {
      this.expect('(');
      const field = this.field();
      this.expect(')');
      return { kind: 'present', field };
    }
    const field = this.field();
    const token = this.peek();
    if (token.kind === 'comparator') {
      this.next++;
      return { kind: 'compare', field, comparator: token.text as Comparator, value: this.value() };
    }
    if (this.takeName('in')) return { kind: 'in', field, items: this.set() };
    throw this.unexpected('a comparison (== != < <= > >= in)');
  }

  private field(): FieldName {
    const first = this.peek();
    if (first.kind !== 'name' || KEYWORDS.has(first.text)) throw this.unexpected('a field, as in modbus.address');
    this.next++;
    if (!this.take('.')) return { record: null, name: first.text, column: first.column };
    const second = this.peek();
    if (second.kind !== 'name') throw this.unexpected(`a field of ${first.text}`);
    this.next++;
    return { record: first.text, name: second.text, column: first.column };
  }

  private set(): SetItem[] {
    if (!this.take('[')) return [this.item()];
    const items = [this.item()];
    while (this.take(',')) {
      if (items.length >= MAX_SET_ITEMS) throw new Refused(this.peek().column, `more than ${MAX_SET_ITEMS} values`);
      items.push(this.item());
    }
    this.expect(']');
    return items;
  }

  private item(): SetItem {
    const from = this.value();
    if (this.peek().kind !== 'range') return { from, to: null };
    this.next++;
    return { from, to: this.value() };
  }

  private value(): Literal {
    const { kind, text, column } = this.peek();
    if (kind === 'number' || (kind === 'name' && !KEYWORDS.has(text))) {
      this.next++;
      return { kind, text, column };
    }
    if (kind === 'text') {
      this.next++;
      return { kind, text: text.slice(1, -1).replace(/\\(.)/gs, '$1'), column };
    }
    throw this.unexpected('a value: a number, a name or a text in quotes');
  }

  private peek(): Token {
    return this.tokens[this.next];
  }
  private take(text: string): boolean {
    const token = this.peek();
    if (token.kind !== 'punctuation' || token.text !== text) return false;
    this.next++;
    return true;
  }
  private isName(text: string): boolean {
    const token = this.peek();
    return token.kind === 'name' && token.text === text;
  }
  private takeName(text: string): boolean {
    if (!this.isName(text)) return false;
    this.next++;
    return true;
  }
  private expect(text: string): void {
    if (!this.take(text)) throw this.unexpected(`"${text}"`);
  }
  private unexpected(wanted: string): Refused {
    const token = this.peek();
    return new Refused(token.column, `expected ${wanted}, found ${token.kind === 'end' ? 'the end' : token.text}`);
  }
}

/** Never throws on any text. */
export function parseRule(text: string): ParsedRule {
  if (text.length > MAX_RULE_LENGTH)
    return { expression: null, fault: { column: 1, message: `the condition is longer than ${MAX_RULE_LENGTH} characters` } };
  try {
    return { expression: new Parser(text).whole(), fault: null };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { expression: null, fault: { column: error.column, message: error.message } };
  }
}

/** Every field named in the expression, in order. */
export function* fieldsOf(expression: Expression): Generator<FieldName> {
  if ('parts' in expression) for (const part of expression.parts) yield* fieldsOf(part);
  else if ('part' in expression) yield* fieldsOf(expression.part);
  else yield expression.field;
}
