import { Option } from 'commander';
import { Output } from './output.ts';

export type Format = 'table' | 'json' | 'jsonl';

export const format = () =>
  new Option('--format <format>', 'how to write it').choices(['table', 'json', 'jsonl']).default('table');

/** Prints rows that share their keys. A table fits its columns to their content; on a terminal the last one is cut to the width. */
export async function printRows(rows: readonly object[], format: Format): Promise<void> {
  const output = new Output(process.stdout);
  if (format === 'json') return output.write(`${jsonText(rows, 2)}\n`);
  if (format === 'jsonl') return output.write(rows.map((row) => `${jsonText(row)}\n`).join(''));
  await output.write(tableText(rows, process.stdout.isTTY ? process.stdout.columns : undefined));
}

export function tableText(rows: readonly object[], width?: number): string {
  if (rows.length === 0) return 'nothing found\n';
  const heads = Object.keys(rows[0]);
  const cells = rows.map((row) => Object.values(row).map(cellText));
  const widths = heads.map((head, column) => cells.reduce((width, row) => Math.max(width, row[column].length), head.length));
  const line = (row: readonly string[]) => {
    const text = row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]))).join('  ');
    return width !== undefined && text.length > width ? `${text.slice(0, Math.max(1, width - 1))}…` : text;
  };
  return `${[line(heads), ...cells.map(line)].map((text) => text.trimEnd()).join('\n')}\n`;
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return printable(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** Text from packets and files on a line of its own: what steers a terminal or turns the direction of writing becomes a space. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, ' ');

/** JSON that no terminal takes for commands: JSON.stringify leaves DEL and the C1 controls as they are. */
export const jsonText = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
