import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreAccess } from '../appliance/store-access.ts';
import { Writer } from '../store/writer.ts';
import { beginDestinations, Forwarder, storedStatuses } from './forwarder.ts';
import { FORWARDING } from './settings.ts';
import { Appliance, alertRow, freePort, linesOf, QUICK, until } from './testing.ts';

let appliance: Appliance;
beforeEach(() => {
  appliance = new Appliance();
});
afterEach(() => appliance.close());

const file = (name: string, more: object = {}) => ({ name, type: 'file', file_name: `${name}.jsonl`, ...more });
const dead = async (name: string) => ({
  name,
  type: 'syslog',
  transport: 'tcp',
  host: '127.0.0.1',
  port: await freePort(),
  settle_ms: 10,
});
const rule = (name: string, destinations: string[], more: object = {}) => ({ name, destinations, ...more });
const items = (name: string): Record<string, never>[] =>
  linesOf(path.join(appliance.folder, 'forward', `${name}.jsonl`)).map((line) => JSON.parse(line));
const ids = (name: string) => items(name).map(({ id }) => id);
const kinds = () => appliance.notifications.list({ open: true }).map(({ kind }) => kind);

/** A receiver in this process, for faults. */
async function receiver(): Promise<{ port: number; text: () => string; open: () => Promise<void>; close: () => Promise<void> }> {
  let text = '';
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('data', (bytes) => {
      text += bytes.toString();
    });
    socket.on('error', () => {}).once('close', () => sockets.delete(socket));
  });
  const port = await freePort();
  return {
    port,
    text: () => text,
    open: () => new Promise((resolve) => server.listen(port, '127.0.0.1', resolve)),
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

describe('which alerts go where', () => {
  it('is what any rule says, once', async () => {
    appliance.set([file('all'), file('some'), file('none')], {
      rules: [
        rule('everything', ['all']),
        rule('the same again', ['all'], { minimum_severity: 'major' }),
        rule('severe', ['some'], { minimum_severity: 'critical' }),
        rule('of a zone', ['some'], { zones: ['cell 9'] }),
        rule('of a protocol', ['some'], { protocols: ['s7comm'], kinds: ['program_download'] }),
        rule('of an engine', ['some'], { engines: ['operational'], minimum_severity: 'major', protocols: ['dnp3'] }),
        rule('off', ['none'], { enabled: false }),
        rule('nothing', ['none'], { alerts: false }),
      ],
    });
    const forwarder = await appliance.forward();
    appliance.raise(1);
    appliance.raise(1, { severity: 'critical' });
    appliance.raise(1, { destination_zone: 'cell 9', severity: 'warning' });
    appliance.raise(1, { app_proto: 's7comm' });
    appliance.raise(1, { app_proto: 's7comm', kind: 'program_download' });
    appliance.raise(1, { app_proto: 'dnp3', kind: 'device_start' });
    appliance.raise(1, { app_proto: 'dnp3', kind: 'device_start', severity: 'minor' });
    appliance.notifications.raise('backup_failed', 'nightly', 'The backup failed.');
    await until(
      () => forwarder.status()[0].sent === 7 && forwarder.status()[1].sent === 4,
      () => JSON.stringify(forwarder.status()),
    );
    expect(ids('all')).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(ids('some')).toEqual([2, 3, 5, 6]);
    expect(ids('none')).toEqual([]);
    expect(forwarder.status()[2]).toMatchObject({ state: 'idle', sent: 0, waiting: 0, dropped: 0 });
  });

  it('holds for system notifications, by severity', async () => {
    appliance.set([file('f')], {
      rules: [rule('r', ['f'], { alerts: false, system_notifications: true, minimum_severity: 'major' })],
    });
    const forwarder = await appliance.forward();
    appliance.notifications.raise('update_installed', '1', 'Version 2.');
    appliance.notifications.raise('backup_failed', 'nightly', 'The backup\nfailed.', { where: 'disk' });
    await until(() => forwarder.status()[0].sent === 1, 'one is sent');
    appliance.notifications.raise('backup_failed', 'nightly', 'It failed again.');
    appliance.notifications.raise('disk_low', '/data', '/data is 95 % full.');
    await until(() => forwarder.status()[0].sent === 2, 'another one is sent');
    expect(items('f')).toMatchObject([
      { what: 'notification', id: 2, kind: 'backup_failed', severity: 'major', details: { where: 'disk' } },
      { id: 3, kind: 'disk_low' },
    ]);
  });

  it('begins with those raised after the destination was made, and an alert that grows is not forwarded again', async () => {
    appliance.raise(3);
    appliance.set([file('f')]);
    const forwarder = await appliance.forward();
    appliance.raise(1);
    await until(() => forwarder.status()[0].sent === 1, 'the new one');
    const again = { ...alertRow('4'), count: 9 };
    appliance.writer.apply({ ...(await import('../store/change-set.ts')).emptyChangeSet(), alerts: [again] });
    appliance.raise(1);
    await until(() => forwarder.status()[0].sent === 2, 'the next one');
    expect(ids('f')).toEqual([4, 5]);
  });

  it('begins so even where the destination was made while nothing forwarded', async () => {
    appliance.raise(2);
    appliance.set([file('f')]);
    beginDestinations(appliance);
    appliance.raise(2);
    const forwarder = await appliance.forward();
    await until(() => forwarder.status()[0].sent === 2, 'both');
    expect(ids('f')).toEqual([3, 4]);
  });
});

describe('a destination', () => {
  it('that is dead delays no other, is told of, and gets everything when it lives', async () => {
    const siem = await receiver();
    appliance.set([
      { name: 'siem', type: 'syslog', transport: 'tcp', host: '127.0.0.1', port: siem.port, framing: 'newline', settle_ms: 10 },
      file('f'),
    ]);
    const forwarder = await appliance.forward();
    appliance.raise(100);
    await until(() => forwarder.status()[1].sent === 100, 'the file has all');
    await until(() => kinds().includes('forwarding_failed'), 'it is told of');
    const [failing] = forwarder.status();
    expect(failing).toMatchObject({ state: 'failing', sent: 0, last_error: expect.stringMatching(/nothing listens there/) });
    expect(failing.waiting).toBeGreaterThanOrEqual(100);
    expect(failing.next_try_ms).toBeGreaterThan(0);
    expect(appliance.notifications.list({ open: true })[0].details).toMatchObject({ destination: 'siem' });
    await siem.open();
    await until(
      () => forwarder.status()[0].state === 'idle' && forwarder.status()[0].sent > 100,
      'it has all, and the notification',
    );
    expect(kinds()).toEqual([]);
    const numbers = [...siem.text().matchAll(/finding (\d+)/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    await siem.close();
  });

  it('goes on where it had got to after a restart', async () => {
    appliance.set([file('f')]);
    let forwarder = await appliance.forward();
    appliance.raise(10);
    await until(() => forwarder.status()[0].sent === 10, 'ten');
    await forwarder.stop();
    appliance.raise(10);
    expect(storedStatuses(appliance)).toMatchObject([
      { name: 'f', sent: 10, waiting: 10, state: 'waiting', cursor: { alerts: 10 } },
    ]);
    forwarder = await appliance.forward();
    await until(() => forwarder.status()[0].sent === 20, 'twenty');
    expect(ids('f')).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });

  it('for which too much waits leaves out the oldest, counts them and says so until it has caught up', async () => {
    const siem = await receiver();
    const settings = {
      name: 'siem',
      type: 'syslog',
      transport: 'tcp',
      host: '127.0.0.1',
      port: siem.port,
      framing: 'newline',
      settle_ms: 10,
    };
    // Only half of them are for it: those are what counts.
    const rules = [rule('r', ['siem'], { minimum_severity: 'critical' })];
    appliance.set([settings], { queue_limit: 50, rules });
    const forwarder = await appliance.forward();
    for (let i = 0; i < 60; i++) {
      appliance.raise(1, { severity: 'critical' });
      appliance.raise(1);
    }
    await until(
      () => forwarder.status()[0].dropped === 10,
      () => JSON.stringify(forwarder.status()),
    );
    expect(forwarder.status()[0]).toMatchObject({ waiting: 50 });
    expect(kinds()).toContain('forwarding_dropped');
    appliance.raise(1500, { severity: 'critical' });
    await until(
      () => forwarder.status()[0].dropped === 1510,
      () => JSON.stringify(forwarder.status()),
    );
    await siem.open();
    await until(
      () => forwarder.status()[0].sent === 50 && kinds().length === 0,
      () => JSON.stringify([forwarder.status(), kinds()]),
    );
    const numbers = [...siem.text().matchAll(/finding (\d+)/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 50 }, (_, i) => 1571 + i));
    await siem.close();
  });

  it('that is switched off keeps nothing, and begins anew when it is switched on', async () => {
    appliance.set([file('f')]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    await until(() => forwarder.status()[0].sent === 2, 'two');
    appliance.set([file('f', { enabled: false })]);
    await until(
      () => appliance.database.db.prepare('SELECT count(*) FROM forward_cursors').pluck().get() === 0,
      'its place is given up',
    );
    expect(forwarder.status()[0]).toMatchObject({ state: 'off', enabled: false });
    appliance.raise(2);
    appliance.set([file('f')]);
    await forwarder.reload();
    appliance.raise(1);
    await until(() => forwarder.status()[0].sent === 1, 'the fifth');
    expect(ids('f')).toEqual([1, 2, 5]);
  });

  it('that fails when it is taken away leaves no notification behind', async () => {
    appliance.set([await dead('siem')]);
    const forwarder = await appliance.forward();
    appliance.raise(1);
    await until(() => kinds().includes('forwarding_failed'), 'it is told of');
    appliance.set([file('f')]);
    await forwarder.reload();
    expect(kinds()).toEqual([]);
    expect(forwarder.status().map(({ name }) => name)).toEqual(['f']);
  });

  it('whose rules or parameters change goes on from where it is', async () => {
    appliance.set([await dead('d')]);
    const forwarder = await appliance.forward();
    appliance.raise(3);
    appliance.raise(1, { severity: 'warning' });
    await until(() => forwarder.status()[0].waiting === 4, 'four wait');
    appliance.set([file('d')], { rules: [rule('r', ['d'], { minimum_severity: 'major' })] });
    await until(() => forwarder.status()[0].sent === 3, 'three are written');
    expect(ids('d')).toEqual([1, 2, 3]);
  });

  it('gets all of what a large table has for it, page by page', async () => {
    appliance.set([file('f')], { rules: [rule('r', ['f'], { minimum_severity: 'critical' })] });
    const forwarder = await appliance.forward();
    for (let i = 0; i < 6; i++) {
      appliance.raise(2500);
      appliance.raise(1, { severity: 'critical' });
    }
    await until(
      () => forwarder.status()[0].sent === 6,
      () => JSON.stringify(forwarder.status()),
    );
    expect(ids('f')).toEqual(Array.from({ length: 6 }, (_, i) => 2501 * (i + 1)));
  });

  it('is tried again at once where that is asked for', async () => {
    const siem = await receiver();
    appliance.set([
      { name: 'siem', type: 'syslog', transport: 'tcp', host: '127.0.0.1', port: siem.port, framing: 'newline', settle_ms: 0 },
    ]);
    const forwarder = await appliance.forward({ ...QUICK, first_retry_ms: 3_600_000, most_retry_ms: 3_600_000 });
    appliance.raise(1);
    await until(() => forwarder.status()[0].state === 'failing', 'it fails');
    await siem.open();
    forwarder.retry('siem');
    await until(() => forwarder.status()[0].sent === 1, 'it is sent');
    expect(() => forwarder.retry('nobody')).toThrow(/there is no destination "nobody"; there are: siem/);
    await siem.close();
  });
});

describe('the database of the sensor', () => {
  it('need not be there yet', async () => {
    const { settings, database, notifications, outbound } = appliance;
    appliance.set([file('f')]);
    const elsewhere = path.join(appliance.folder, 'later');
    const store = new StoreAccess(elsewhere);
    const forwarder = new Forwarder({
      store,
      settings,
      database,
      notifications,
      outbound,
      log: { info() {}, warn() {}, error() {} },
      directory: path.join(appliance.folder, 'forward'),
      version: '1',
      timing: QUICK,
    });
    await forwarder.start();
    // What the appliance says of itself waits for no sensor.
    appliance.notifications.raise('sensor_stopped', '', 'It is not running.');
    await until(() => forwarder.status()[0].sent === 1, 'the notification');
    const writer = new Writer(elsewhere);
    writer.apply({ ...(await import('../store/change-set.ts')).emptyChangeSet(), alerts: [alertRow('1')] });
    await until(() => forwarder.status()[0].sent === 2, 'it is written');
    writer.close();

    // Another one in its place: its alerts are all new.
    fs.rmSync(elsewhere, { recursive: true });
    const other = new Writer(elsewhere);
    await until(() => forwarder.status()[0].cursor.alerts === 0, 'it is seen');
    other.apply({ ...(await import('../store/change-set.ts')).emptyChangeSet(), alerts: [alertRow('a'), alertRow('b')] });
    await until(() => forwarder.status()[0].sent === 4, 'they are written');
    expect(items('f').map(({ message }) => message)).toEqual([
      expect.stringMatching(/^It is not running/),
      'finding 1',
      'finding a',
      'finding b',
    ]);
    expect(new Set(items('f').map(({ uuid }) => uuid)).size).toBe(4);
    await forwarder.stop();
    store.close();
    other.close();
  });
});

describe('the settings', () => {
  const write = (value: object) => () => appliance.settings.write(FORWARDING, value, 'anna', 1);

  it.each<[string, object, RegExp]>([
    ['a rule for nobody', { rules: [rule('r', ['x'])] }, /\/rules\/0\/destinations\/0: there is no destination "x"/],
    ['a name twice', { destinations: [file('a'), file('a', { file_name: 'b' })] }, /\/destinations\/1\/name: there are two/],
    ['a file twice', { destinations: [file('a'), file('b', { file_name: 'a.jsonl' })] }, /\/destinations\/1\/file_name/],
    ['a file elsewhere', { destinations: [file('a', { file_name: '../../etc/passwd' })] }, /\/destinations\/0\/file_name/],
    [
      'a kind that there is not',
      { destinations: [file('a')], rules: [rule('r', ['a'], { kinds: ['x'] })] },
      /\/rules\/0\/kinds\/0: there is no kind/,
    ],
    [
      'an engine that there is not',
      { destinations: [file('a')], rules: [rule('r', ['a'], { engines: ['x'] })] },
      /\/rules\/0\/engines\/0/,
    ],
    [
      'a time zone',
      { destinations: [{ name: 'a', type: 'syslog', host: 'h', time_zone: 'Mars' }] },
      /\/destinations\/0\/time_zone: there is no such/,
    ],
    [
      'a limit too small',
      { destinations: [{ name: 'a', type: 'syslog', host: 'h', max_bytes: 100 }] },
      /\/destinations\/0\/max_bytes/,
    ],
    [
      'a CA',
      { destinations: [{ name: 'a', type: 'syslog', host: 'h', tls: { ca: 'x' } }] },
      /\/destinations\/0\/tls\/ca: is not a certificate/,
    ],
    [
      'a URL',
      { destinations: [{ name: 'a', type: 'webhook', url: 'http://u:p@h/' }] },
      /\/destinations\/0\/url: must not have a user name/,
    ],
    [
      'a header',
      { destinations: [{ name: 'a', type: 'webhook', url: 'http://h/', headers: [{ name: 'x', value: 'a\r\nb' }] }] },
      /headers\/0\/value/,
    ],
    [
      'a mail address',
      { destinations: [{ name: 'a', type: 'email', host: 'h', from: 'a@b', to: ['a@b, c@d'] }] },
      /\/destinations\/0\/to\/0: is not a mail address/,
    ],
    [
      'a subject',
      { destinations: [{ name: 'a', type: 'nats', servers: ['h'], alerts_subject: 'ot..{site}' }] },
      /\/destinations\/0\/alerts_subject/,
    ],
    ['a field that there is not', { destinations: [file('a', { host: 'h' })] }, /\/destinations\/0/],
    ['a type that there is not', { destinations: [{ name: 'a', type: 'pigeon' }] }, /\/destinations\/0\/type/],
  ])('with %s are refused', (_, value, expected) => {
    expect(write(value)).toThrow(expected);
  });
});
