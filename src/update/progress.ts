import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { writeAtomically } from '../backup/files.ts';
import type { UpdateStep, UpdateStepName } from './apply.ts';

// How far an update is, in a file beside the versions: written by root alone, read by the service, which is away while its databases are
// exchanged, and tells of it before and after.

const FILE = 'update-progress.json';
const MAX_BYTES = 1 << 16;
/** The file is not written more often while bytes are counted. */
const PAUSE_MS = 500;

const Kind = Type.Union([Type.Literal('software'), Type.Literal('content')]);

/** What was installed because it was asked for over the API, and can be undone over the API until somebody confirms it. */
const Unconfirmed = Type.Object({ id: Type.String(), kind: Kind, from: Type.String(), to: Type.String() });

export const UpdateProgress = Type.Object({
  format: Type.Literal(1),
  id: Type.String({ description: 'Of the bundle where it was asked for over the API.' }),
  action: Type.Union([Type.Literal('apply'), Type.Literal('undo'), Type.Literal('confirm')]),
  by: Type.String({ description: '`api` or `command`.' }),
  state: Type.Union([Type.Literal('running'), Type.Literal('done'), Type.Literal('failed')]),
  kind: Type.Union([Kind, Type.Literal('')], { description: "'' until the bundle was read." }),
  from: Type.String(),
  to: Type.String(),
  doing: Type.String({ description: "The step it is at; '' when it is over." }),
  done_bytes: Type.Integer({ description: 'Of the files that this step reads.' }),
  total_bytes: Type.Integer(),
  steps: Type.Array(
    Type.Object({ step: Type.String(), outcome: Type.String(), message: Type.String(), time_ms: Type.Integer() }),
    { maxItems: 100 },
  ),
  message: Type.String({ description: 'Why it failed.' }),
  started_ms: Type.Integer(),
  changed_ms: Type.Integer(),
  unconfirmed: Type.Union([Unconfirmed, Type.Null()]),
});
export type UpdateProgress = Static<typeof UpdateProgress>;

/** null: nothing was installed yet, or what is there is not ours. */
export function readProgress(root: string): UpdateProgress | null {
  try {
    const file = path.join(root, FILE);
    if (fs.statSync(file).size > MAX_BYTES) return null;
    const value: unknown = JSON.parse(fs.readFileSync(file, 'utf8'));
    return Value.Check(UpdateProgress, value) ? value : null;
  } catch {
    return null;
  }
}

/** What comes after a step. */
const NEXT: Partial<Record<UpdateStepName, UpdateStepName>> = {
  verify: 'stage',
  stage: 'preflight',
  preflight: 'backup',
  backup: 'stop',
  stop: 'copy',
  copy: 'migrate',
  migrate: 'switch',
  switch: 'check',
  check: 'start',
  start: 'check',
};

/** Keeps the file in step with what is done. Without a place for it (no folder, nothing to write) it keeps silent: an update is not to fail by it. */
export class ProgressFile {
  private readonly root: string;
  private readonly now_ms: () => number;
  private current: UpdateProgress;

  /** What can still be undone stays so until something else is installed. */
  constructor(root: string, begin: Pick<UpdateProgress, 'id' | 'action' | 'by'>, now_ms: () => number = Date.now) {
    this.root = root;
    this.now_ms = now_ms;
    const time = Math.round(now_ms());
    this.current = {
      format: 1,
      ...begin,
      state: 'running',
      kind: '',
      from: '',
      to: '',
      doing: begin.action === 'apply' ? 'verify' : begin.action,
      done_bytes: 0,
      total_bytes: 0,
      steps: [],
      message: '',
      started_ms: time,
      changed_ms: time,
      unconfirmed: readProgress(root)?.unconfirmed ?? null,
    };
    this.write();
  }

  get unconfirmed(): UpdateProgress['unconfirmed'] {
    return this.current.unconfirmed;
  }

  step({ step, outcome, kind, from, to, message }: UpdateStep): void {
    const time_ms = Math.round(this.now_ms());
    const { steps } = this.current;
    const doing = outcome === 'failed' ? 'rollback' : (NEXT[step] ?? '');
    const all = [...steps, { step, outcome, message: message.slice(0, 500), time_ms }].slice(-100);
    this.set({ kind, from, to, doing, steps: all, done_bytes: 0, total_bytes: 0 });
  }

  bytes(done_bytes: number, total_bytes: number): void {
    const { changed_ms } = this.current;
    if (this.now_ms() - changed_ms >= PAUSE_MS || done_bytes === total_bytes) this.set({ done_bytes, total_bytes });
  }

  done(unconfirmed: UpdateProgress['unconfirmed']): void {
    this.set({ state: 'done', doing: '', unconfirmed });
  }

  failed(message: string): void {
    this.set({ state: 'failed', doing: '', message: message.slice(0, 1000) });
  }

  private set(change: Partial<UpdateProgress>): void {
    this.current = { ...this.current, ...change, changed_ms: Math.round(this.now_ms()) };
    this.write();
  }

  private write(): void {
    writeProgress(this.root, this.current);
  }
}

/** What was under way when the machine or its program ended is over: `recoverUpdate` has taken it back, or carried it through. */
export function settleProgress(root: string, version: (kind: 'software' | 'content') => string): void {
  const progress = readProgress(root);
  if (progress?.state !== 'running') return;
  const { action, kind, to } = progress;
  const installed = action === 'apply' && kind !== '' && to !== '' && version(kind) === to;
  const message = installed ? '' : 'it was broken off, and taken back';
  writeProgress(root, { ...progress, state: installed ? 'done' : 'failed', doing: '', message });
}

function writeProgress(root: string, progress: UpdateProgress): void {
  try {
    const file = path.join(root, FILE);
    writeAtomically(file, JSON.stringify(progress, null, 1), 0o644);
    // Whatever the umask: the service is another user.
    fs.chmodSync(file, 0o644);
  } catch {}
}

export const newId = (): string => randomBytes(16).toString('hex');
