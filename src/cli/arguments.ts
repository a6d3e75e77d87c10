import { InvalidArgumentError } from 'commander';

/** A whole number within bounds. */
export const integer = (lowest: number, highest: number) => (text: string) => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < lowest || value > highest)
    throw new InvalidArgumentError(`It takes a whole number from ${lowest} to ${highest}.`);
  return value;
};

/** Names separated by commas. */
export const names = (text: string): string[] => {
  const list = text.split(',').map((name) => name.trim());
  if (list.some((name) => name === '')) throw new InvalidArgumentError('It takes names separated by commas.');
  return list;
};
