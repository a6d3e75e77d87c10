import { randomUUID } from 'node:crypto';
import type { ApplianceDatabase } from '../appliance/database.ts';
import { type ItemSource, SOURCES } from './item.ts';

/** How far a destination has got in one source. */
export interface Progress {
  /** Id of the last item that is done with: taken, left out or not meant for it. */
  position: number;
  sent: number;
  dropped: number;
}

/** How a destination fares; 0 and '' where it never happened. */
export interface Fortune {
  last_success_ms: number;
  last_error: string;
  last_error_ms: number;
  /** It takes nothing since then; 0: all is well. */
  failing_since_ms: number;
}

export type Places = Record<ItemSource, Progress>;

const NO_FORTUNE: Fortune = { last_success_ms: 0, last_error: '', last_error_ms: 0, failing_since_ms: 0 };

/** How far each destination has been forwarded to, kept in the appliance's database. Survives restarts; other processes may read it. */
export class ForwardProgress {
  private readonly database: ApplianceDatabase;
  constructor(database: ApplianceDatabase) {
    this.database = database;
  }

  /** Of this appliance, made once; UUIDs of what it forwards follow from it. */
  appliance(): string {
    const { db } = this.database;
    db.prepare('INSERT OR IGNORE INTO forward_appliance (id, uuid) VALUES (1, ?)').run(randomUUID());
    return db.prepare('SELECT uuid FROM forward_appliance').pluck().get() as string;
  }

  /** null: it has no place yet. */
  places(destination: string): Places | null {
    const rows = this.database.db
      .prepare('SELECT source, position, sent, dropped FROM forward_cursors WHERE destination = ?')
      .all(destination) as (Progress & { source: ItemSource })[];
    if (rows.length < SOURCES.length) return null;
    return Object.fromEntries(rows.map(({ source, ...progress }) => [source, progress])) as Places;
  }

  /** Its place is behind what is there by now; one that has a place keeps it. */
  begin(destination: string, last: Record<ItemSource, number>): void {
    this.database.transaction(() => {
      const insert =
        'INSERT OR IGNORE INTO forward_cursors (destination, source, position, sent, dropped) VALUES (?, ?, ?, 0, 0)';
      for (const source of SOURCES) this.database.db.prepare(insert).run(destination, source, last[source]);
      this.database.db.prepare('INSERT OR IGNORE INTO forward_destinations (destination) VALUES (?)').run(destination);
    });
  }

  move(destination: string, source: ItemSource, { position, sent, dropped }: Progress): void {
    const update = 'UPDATE forward_cursors SET position = ?, sent = ?, dropped = ? WHERE destination = ? AND source = ?';
    this.database.db.prepare(update).run(position, sent, dropped, destination, source);
  }

  fortune(destination: string): Fortune {
    const select =
      'SELECT last_success_ms, last_error, last_error_ms, failing_since_ms FROM forward_destinations WHERE destination = ?';
    return (this.database.db.prepare(select).get(destination) as Fortune | undefined) ?? NO_FORTUNE;
  }

  setFortune(destination: string, fortune: Fortune): void {
    const { last_success_ms, last_error, last_error_ms, failing_since_ms } = fortune;
    const update = `UPDATE forward_destinations SET last_success_ms = ?, last_error = ?, last_error_ms = ?, failing_since_ms = ?
      WHERE destination = ?`;
    this.database.db.prepare(update).run(last_success_ms, last_error, last_error_ms, failing_since_ms, destination);
  }

  /** Asks the process that forwards, which may be another one, to try it again at once. False: it has no place yet. */
  askRetry(destination: string, now_ms: number): boolean {
    const update = 'UPDATE forward_destinations SET retry_asked_ms = ? WHERE destination = ?';
    return this.database.db.prepare(update).run(Math.round(now_ms), destination).changes > 0;
  }

  /** When it was asked for last, by destination; 0: never. */
  retriesAsked(): { destination: string; retry_asked_ms: number }[] {
    return this.database.statement('SELECT destination, retry_asked_ms FROM forward_destinations').all() as {
      destination: string;
      retry_asked_ms: number;
    }[];
  }

  /** Gives up the places of all others. Returns their names. */
  keepOnly(destinations: readonly string[]): string[] {
    const { db } = this.database;
    const gone = (db.prepare('SELECT destination FROM forward_destinations').pluck().all() as string[]).filter(
      (name) => !destinations.includes(name),
    );
    if (gone.length > 0)
      this.database.transaction(() => {
        for (const name of gone) {
          db.prepare('DELETE FROM forward_cursors WHERE destination = ?').run(name);
          db.prepare('DELETE FROM forward_destinations WHERE destination = ?').run(name);
        }
      });
    return gone;
  }
}
