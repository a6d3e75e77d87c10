import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TObject } from 'typebox';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BACKUP } from '../backup/settings.ts';
import { FORWARDING } from '../forward/settings.ts';
import { SNMP } from '../health/snmp.ts';
import { ApplianceDatabase } from './database.ts';
import { OUTBOUND } from './outbound.ts';
import { SECTIONS } from './sections.ts';
import { SECRET_SET, Settings, type SettingsSection, withoutSecrets, withSecretsOf } from './settings.ts';

// Who may change settings may not see a secret, and so must not have it sent to a host of his own either.

let folder: string;
let database: ApplianceDatabase;
let settings: Settings;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  database = new ApplianceDatabase(folder);
  settings = new Settings(database);
});
afterEach(() => {
  database.close();
  fs.rmSync(folder, { recursive: true });
});

const to = (destination: object) => ({ destinations: [{ name: 'a', ...destination }] });
const store = (one: object) => ({ stores: [{ name: 'a', ...one }] });
const HOST_KEY = `SHA256:${'A'.repeat(43)}`;
const OTHER_KEY = `SHA256:${'B'.repeat(43)}`;
const email = { type: 'email', host: 'mail', from: 'a@b', to: ['c@d'], username: 'u', password: 'secret' };
const webhook = {
  type: 'webhook',
  url: 'https://hook/a',
  headers: [{ name: 'authorization', value: 'secret' }],
  signing_key: 'secret',
};
const nats = { type: 'nats', servers: ['one:4222', 'two:4222'], token: 'secret' };
const sftp = { type: 'sftp', host: 'files', user: 'u', host_key: HOST_KEY, password: 'secret' };
const s3 = { type: 's3', endpoint: 'https://s3', bucket: 'backups', access_key_id: 'i', secret_access_key: 'secret' };
const receiver = { name: 'a', host: 'nms', community: 'secret' };

/** What is stored, and a change after which the secret would go elsewhere, or not. */
const CASES: readonly [what: string, section: SettingsSection<TObject>, before: object, changed: object, moved: string][] = [
  ['the host of a mail server', FORWARDING, to(email), to({ ...email, host: 'evil' }), 'host'],
  ['the port of a mail server', FORWARDING, to(email), to({ ...email, port: 2525 }), 'port'],
  ['TLS to a mail server', FORWARDING, to(email), to({ ...email, security: 'none' }), 'security'],
  ['who gets the mail', FORWARDING, to(email), to({ ...email, to: ['e@f'] }), ''],
  ['the host of a webhook', FORWARDING, to(webhook), to({ ...webhook, url: 'https://evil/a' }), 'url'],
  ['the protocol of a webhook', FORWARDING, to(webhook), to({ ...webhook, url: 'http://hook/a' }), 'url'],
  ['the path of a webhook', FORWARDING, to(webhook), to({ ...webhook, url: 'https://hook:443/b' }), ''],
  ['a server of a cluster more', FORWARDING, to(nats), to({ ...nats, servers: ['one:4222', 'evil:4222'] }), 'servers'],
  ['a server of a cluster less', FORWARDING, to(nats), to({ ...nats, servers: ['two:4222'] }), ''],
  ['the host of an SFTP store', BACKUP, store(sftp), store({ ...sftp, host: 'evil' }), 'host'],
  ['the key of an SFTP server', BACKUP, store(sftp), store({ ...sftp, host_key: OTHER_KEY }), 'host_key'],
  ['the folder of an SFTP store', BACKUP, store(sftp), store({ ...sftp, path: 'other' }), ''],
  ['the endpoint of an S3 store', BACKUP, store(s3), store({ ...s3, endpoint: 'https://evil' }), 'endpoint'],
  ['the host of a proxy', OUTBOUND, proxy({}), proxy({ host: 'evil' }), 'host'],
  ['the port of a proxy', OUTBOUND, proxy({}), proxy({ port: 1 }), 'port'],
  ['TLS to a proxy', OUTBOUND, proxy({ tls: true }), proxy({}), 'tls'],
  ['what the proxy is not for', OUTBOUND, proxy({}), { ...proxy({}), no_proxy: ['plant.example'] }, ''],
  ['the host of a receiver of traps', SNMP, { receivers: [receiver] }, { receivers: [{ ...receiver, host: 'evil' }] }, 'host'],
];

function proxy(more: object) {
  return { proxy: { host: 'proxy', username: 'u', password: 'secret', ...more } };
}

const hidden = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll('"secret"', JSON.stringify(SECRET_SET)));

describe('a secret that stays as it was', () => {
  it.each(CASES)('%s', (_, section, before, changed, moved) => {
    settings.write(section, before, 'anna', 1);
    const write = () => settings.write(section, hidden(changed), 'ben', 2);
    if (moved === '') {
      write();
      expect(JSON.stringify(settings.read(section).value)).toContain('"secret"');
      return;
    }
    expect(write).toThrow(new RegExp(`"${moved}" is another than before: give the secret again`));
    expect(settings.read(section).version).toBe(1);
    // Given again it is taken, and one that is taken away, too.
    expect(settings.write(section, changed, 'ben', 3).version).toBe(2);
    // A backup of then, without its keys, does not bring the old place a secret of today.
    const restored = withSecretsOf(
      section.schema,
      withoutSecrets(section.schema, { ...settings.read(section, 1).value }),
      settings.read(section).value,
    );
    expect(JSON.stringify(restored)).not.toContain('"secret"');
  });

  it('a destination of another type has its secrets again', () => {
    settings.write(FORWARDING, to(email), 'anna', 1);
    const other = to({ type: 'nats', servers: ['mail'], username: 'u', password: SECRET_SET });
    expect(() => settings.write(FORWARDING, other, 'ben', 2)).toThrow(/"type" is another than before/);
  });

  it('a private key, which nobody is sent, stays', () => {
    const tls = { certificate: '', key: '', passphrase: 'of the key' };
    const syslog = { type: 'syslog', host: 'siem', transport: 'tls', tls };
    settings.write(FORWARDING, to(syslog), 'anna', 1);
    settings.write(FORWARDING, to({ ...syslog, host: 'siem2', tls: { ...tls, passphrase: SECRET_SET } }), 'ben', 2);
    expect(JSON.stringify(settings.read(FORWARDING).value)).toContain('of the key');
  });

  it('every secret that is sent somewhere says where', () => {
    const loose: string[] = [];
    type Node = { writeOnly?: boolean; properties?: Record<string, Node>; items?: Node; anyOf?: Node[]; [key: string]: unknown };
    const walk = (node: Node, at: string, bound: boolean): void => {
      const own = bound || node['x-secrets-go-to'] !== undefined;
      if (node.writeOnly && !own && node['x-never-sent'] === undefined) loose.push(at);
      for (const [name, member] of Object.entries(node.properties ?? {})) walk(member, `${at}/${name}`, own);
      if (node.items !== undefined) walk(node.items, `${at}/*`, own);
      for (const one of node.anyOf ?? []) walk(one, at, own);
    };
    for (const { name, schema } of SECTIONS) walk(schema as unknown as Node, name, false);
    // Of what others ask us with, and of files that are encrypted here.
    expect(loose.sort()).toEqual([
      'backup/passphrase',
      'snmp/communities/*/community',
      'snmp/users/*/authentication_password',
      'snmp/users/*/privacy_password',
    ]);
  });
});
