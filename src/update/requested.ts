import fs from 'node:fs';
import path from 'node:path';
import { OperatingError } from '../errors.ts';
import { applyUpdate, rollbackUpdate, type UpdateHooks, type UpdateRequest, updateStatus } from './apply.ts';
import { ProgressFile } from './progress.ts';
import { copyBundle, removeBundle, takeRequest, type UpdateRequestFile } from './requests.ts';

/** Root's copy of the bundle, beside the versions. */
const COPY = 'requested.bundle';

/**
 * What was asked for over the API, done by root. The request can only name a bundle that the service has staged, or the last update that
 * came this way and was not confirmed: it says nothing of paths, keys or options, and an older version is never installed. Returns what
 * was done; null where nothing is asked for. Throws OperatingError.
 */
export async function runRequested(
  appliance: Omit<UpdateRequest, 'file' | 'allow_downgrade'>,
  hooks: UpdateHooks,
): Promise<UpdateRequestFile | null> {
  const { root, data } = appliance;
  const request = takeRequest(data);
  if (request === null) return null;
  const { action, id } = request;
  fs.mkdirSync(root, { recursive: true });
  const progress = new ProgressFile(root, { id, action, by: 'api' });
  const followed: UpdateHooks = {
    ...hooks,
    onStep(step) {
      progress.step(step);
      hooks.onStep?.(step);
    },
    onProgress: (done, total) => progress.bytes(done, total),
  };
  try {
    if (action === 'apply') await apply(id, appliance, followed, progress);
    else {
      const { kind } = unconfirmed(id, root, progress);
      if (action === 'undo') await rollbackUpdate(root, followed, { kind });
      progress.done(null);
    }
    return request;
  } catch (error) {
    progress.failed((error as Error).message);
    throw error;
  }
}

async function apply(
  id: string,
  appliance: Omit<UpdateRequest, 'file' | 'allow_downgrade'>,
  hooks: UpdateHooks,
  progress: ProgressFile,
): Promise<void> {
  const { root, data } = appliance;
  const file = path.join(root, COPY);
  try {
    try {
      copyBundle(data, id, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new OperatingError('not_found', 'the bundle that was asked for is not there any more');
    }
    const before = updateStatus(root);
    const { kind, version } = await applyUpdate({ ...appliance, file, allow_downgrade: false }, hooks);
    const from = before[kind].version;
    progress.done(from === '' ? null : { id, kind, from, to: version });
    removeBundle(data, id);
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** What may be undone: by root's own record, and only while nothing else was installed since. */
function unconfirmed(id: string, root: string, { unconfirmed }: ProgressFile): NonNullable<ProgressFile['unconfirmed']> {
  const present = unconfirmed === null ? null : updateStatus(root)[unconfirmed.kind];
  if (unconfirmed?.id !== id || present?.version !== unconfirmed.to || present.previous !== unconfirmed.from)
    throw new OperatingError('conflict', 'no update that was asked for so waits to be confirmed or undone');
  return unconfirmed;
}
