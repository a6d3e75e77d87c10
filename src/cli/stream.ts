import { type Command, InvalidArgumentError } from 'commander';
import { newestPosition, newsSince, positionOf, positionText } from '../appliance/news.ts';
import { StoreAccess } from '../appliance/store-access.ts';
import { StoreError } from '../store/errors.ts';
import { dataOption } from './data.ts';
import { managed } from './managed.ts';
import { jsonText } from './table.ts';

const LOOK_MS = 500;

export function register(program: Command): void {
  program
    .command('stream')
    .description('new alerts, events and system notifications as they are stored, a line of JSON each, until Ctrl-C')
    .option('--from <position>', '0: from the beginning; or the id of the last line there was, and it goes on behind it', from)
    .option('--until-now', 'end with what there is by now')
    .addOption(dataOption())
    .addHelpText('after', '\nExamples:\n  $ ot-sensor stream\n  $ ot-sensor stream --from 118.4021.7 --until-now')
    .action(stream);
}

function from(text: string): string {
  if (text !== '0' && positionOf(text) === null) throw new InvalidArgumentError('It takes 0, or an id such as 118.4021.7.');
  return text;
}

async function stream(args: { data: string; from?: string; untilNow?: true }): Promise<void> {
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (stopped = true));
  await managed(args.data, async ({ notifications }) => {
    const store = new StoreAccess(args.data);
    const sources = { store, notifications };
    try {
      const position =
        args.from === '0' ? { alert: 0, event: 0, notification: 0 } : (positionOf(args.from) ?? newestPosition(sources));
      while (!stopped) {
        let some = false;
        try {
          for (const { event, position: id, data } of newsSince(sources, position)) {
            some = true;
            process.stdout.write(`${jsonText({ id: positionText(id), event, data })}\n`);
          }
        } catch (error) {
          // The database may be missing for a moment, while one is restored, or not be there yet.
          if (!(error instanceof StoreError)) throw error;
        }
        if (some) continue;
        if (args.untilNow) return;
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      }
    } finally {
      store.close();
    }
  });
}
