#!/usr/bin/env node
import { CommanderError } from 'commander';
import { EXIT_FAILURE, reportError } from './failure.ts';
import { guardOutput } from './output.ts';
import { programFor } from './program.ts';

async function main(args: string[]): Promise<void> {
  const program = await programFor(args.find((arg) => !arg.startsWith('-')) ?? '');
  await program.parseAsync(args, { from: 'user' });
}

guardOutput();
main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT_FAILURE;
  else reportError(error);
});
