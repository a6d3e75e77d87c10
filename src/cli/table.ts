import { Option } from 'commander';
import { Output } from './output.ts';

export type Format = 'table' | 'json' | 'jsonl';

export const format = () =>
  new Option('--format <format>', 'how to write it').choices(['table', 'json', 'jsonl']).default('table');

/** Prints rows that share their keys. A table fits its columns to their content; on a terminal the last one is cut to the width. */
export async function printRows(rows: readonly object[], format: Format): Promise<void> {
  const output = new Output(process.stdout);
  if (format === 'json') return output.write(`${JSON.stringify(rows, null, 2)}\n`);
  if (format === 'jsonl') return output.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  await output.write(tableText(rows, process.stdout.isTTY ? process.stdout.columns : undefined));
}

export function tableText(rows: readonly object[], width?: number): string {
  if (rows.length === 0) return 'nothing found\n';
  const heads = Object.keys(rows[0]);
  const cells = rows.map((row) => Object.values(row).map(cellText));
  const widths = heads.map((head, column) => Math.max(head.length, ...cells.map((row) => row[column].length)));
  const line = (row: readonly string[]) => {
    const text = row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]))).join('  ');
    return width !== undefined && text.length > width ? `${text.slice(0, Math.max(1, width - 1))}…` : text;
  };
  return `${[line(heads), ...cells.map(line)].map((text) => text.trimEnd()).join('\n')}\n`;
}

/** Control characters in text from packets must not reach the terminal. */
function cellText(value: unknown): string {
  const text = value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
