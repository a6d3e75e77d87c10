import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Appliance, type Certificates, certificates, until } from './testing.ts';

interface Mail {
  from: string;
  to: string[];
  text: string;
  secured: boolean;
  login: string;
}

/** A mail server (RFC 5321) with STARTTLS and AUTH PLAIN. `refuses`: an address, or DATA, with this answer. */
class MailServer {
  readonly mails: Mail[] = [];
  readonly refuses = new Map<string, string>();
  starttls = true;
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();
  private readonly certs: Certificates;

  constructor(certs: Certificates) {
    this.certs = certs;
    this.server = net.createServer((socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.write('220 mail.example ESMTP\r\n');
      this.talk(socket, false);
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return (this.server.address() as net.AddressInfo).port;
  }

  /** Connections made so far. */
  get connections(): number {
    return this.sockets.size;
  }

  /** As a server does with connections that are idle. */
  drop(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private talk(socket: net.Socket, secured: boolean): void {
    let buffered = '';
    let mail: Mail = { from: '', to: [], text: '', secured, login: '' };
    let login = '';
    let in_data = false;
    const say = (line: string) => socket.write(`${line}\r\n`);
    const line = (text: string): void => {
      const [verb] = text.toUpperCase().split(/[ :]/);
      const address = /<([^>]*)>/.exec(text)?.[1] ?? '';
      if (verb === 'EHLO')
        say(`250-mail.example\r\n250-AUTH PLAIN${this.starttls && !secured ? '\r\n250-STARTTLS' : ''}\r\n250 8BITMIME`);
      else if (verb === 'STARTTLS' && this.starttls) {
        socket.removeAllListeners('data');
        say('220 go ahead');
        const { certificate, key } = this.certs.server;
        const inner = new tls.TLSSocket(socket, { isServer: true, cert: certificate, key });
        inner.on('error', () => {});
        this.talk(inner, true);
      } else if (verb === 'AUTH') {
        login = Buffer.from(text.split(' ')[2], 'base64').toString();
        say(login === '\0sensor\0mail secret' ? '235 welcome' : '535 5.7.8 no such user');
      } else if (verb === 'MAIL') {
        mail = { from: address, to: [], text: '', secured, login };
        say('250 fine');
      } else if (verb === 'RCPT') {
        const refused = this.refuses.get(address);
        if (refused === undefined) mail.to.push(address);
        say(refused ?? '250 fine');
      } else if (verb === 'DATA') {
        const refused = this.refuses.get('DATA');
        in_data = refused === undefined;
        say(refused ?? '354 go ahead');
      } else say(verb === 'QUIT' ? '221 bye' : verb === 'STARTTLS' ? '502 not here' : '250 fine');
    };
    socket.on('data', (bytes: Buffer) => {
      buffered += bytes.toString();
      for (;;) {
        const end = buffered.indexOf(in_data ? '\r\n.\r\n' : '\r\n');
        if (end < 0) return;
        const text = buffered.slice(0, end);
        buffered = buffered.slice(end + (in_data ? 5 : 2));
        if (!in_data) line(text);
        else {
          in_data = false;
          this.mails.push({ ...mail, text });
          say(`250 2.0.0 queued as ${this.mails.length}`);
        }
      }
    });
  }
}

let certs: Certificates;
let appliance: Appliance;
let server: MailServer;
let port: number;
beforeAll(async () => {
  certs = await certificates();
});
beforeEach(async () => {
  appliance = new Appliance();
  server = new MailServer(certs);
  port = await server.listen();
});
afterEach(async () => {
  await appliance.close();
  await server.close();
});

const mail = (more: object = {}) => ({
  name: 'mail',
  type: 'email',
  host: 'localhost',
  port,
  from: 'sensor@plant.example',
  to: ['anna@plant.example', 'ben@plant.example'],
  tls: { ca: certs.ca },
  ...more,
});

describe('e-mail', () => {
  it('is a mail an alert to all addresses, in TLS, signed in', async () => {
    appliance.set([mail({ username: 'sensor', password: 'mail secret', time_zone: 'Europe/Berlin' })]);
    const forwarder = await appliance.forward();
    appliance.raise(3, { title: 'Crossing\r\nBcc: eve@evil.example\r\n\r\nbody' });
    await until(
      () => forwarder.status()[0].sent === 3,
      () => JSON.stringify(forwarder.status()),
    );
    expect(server.mails).toHaveLength(3);
    const [{ from, to, text, secured, login }] = server.mails;
    expect({ from, to, secured, login }).toEqual({
      from: 'sensor@plant.example',
      to: ['anna@plant.example', 'ben@plant.example'],
      secured: true,
      login: '\0sensor\0mail secret',
    });
    const [head, body] = text.split('\r\n\r\n');
    expect(head).toMatch(/^Subject: \[sensor-1\] Major: Crossing {2}Bcc: eve@evil\.example/m);
    expect(head).not.toMatch(/^Bcc:/im);
    expect(head).toMatch(/^Auto-Submitted: auto-generated\r?$/m);
    expect(text).toMatch(/finding 1/);
    expect(text).toMatch(/Time: +Jan 03 2026 05:05:06\.789 GMT\+01:00/);
    expect(body).toBeTruthy();
    const ids = server.mails.map((one) => /^Message-ID: (.*)$/im.exec(one.text)?.[1]);
    expect(new Set(ids).size).toBe(3);
  });

  it('is sent over one connection, and over another where the server has closed that', async () => {
    appliance.set([mail({})]);
    const forwarder = await appliance.forward();
    const taken = async (count: number) => {
      await until(
        () => forwarder.status()[0].cursor.alerts === count,
        () => JSON.stringify(forwarder.status()),
      );
      return server.connections;
    };
    appliance.raise(3);
    expect(await taken(3)).toBe(1);
    appliance.raise(1);
    expect(await taken(4)).toBe(1);
    server.drop();
    appliance.raise(2);
    expect(await taken(6)).toBe(2);
    const numbers = server.mails.map(({ text }) => Number(/finding (\d+)/.exec(text)?.[1]));
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('gathers what comes within the time, and goes sooner when there is enough', async () => {
    appliance.set([mail({ digest_minutes: 60, digest_count: 20 })]);
    const forwarder = await appliance.forward();
    appliance.raise(50);
    await until(() => server.mails.length === 2, 'two full mails');
    await until(() => forwarder.status()[0].sent === 40, 'they are taken');
    expect(forwarder.status()[0]).toMatchObject({ state: 'waiting', waiting: 10 });
    expect(server.mails[0].text).toMatch(/^Subject: \[sensor-1\] 20 messages, the first: /m);
    for (const [i, { text }] of server.mails.entries())
      expect([...text.matchAll(/finding (\d+)/g)].map(([, number]) => Number(number))).toEqual(
        Array.from({ length: 20 }, (_, j) => 20 * i + j + 1),
      );
  });

  it('is not sent in clear where the server has no TLS, unless that is asked for', async () => {
    server.starttls = false;
    appliance.set([mail({ name: 'secure' }), mail({ name: 'clear', security: 'none' })]);
    const forwarder = await appliance.forward();
    expect(await forwarder.test('secure')).toMatchObject({ ok: false });
    expect(server.mails).toEqual([]);
    expect(await forwarder.test('clear')).toEqual({ ok: true, said: '250 2.0.0 queued as 1' });
    expect(server.mails[0].text).toMatch(/Test message/);
  });

  it('is not sent to a server whose certificate is not of the CA, or of another name', async () => {
    appliance.set([
      mail({ tls: {} }),
      mail({ name: 'other', tls: { ca: certs.ca, server_name: 'mail.example' } }),
      mail({ name: 'other address', host: '127.0.0.1', tls: { ca: certs.ca, server_name: '192.0.2.1' } }),
      mail({ name: 'address', host: '127.0.0.1' }),
    ]);
    const forwarder = await appliance.forward();
    expect(await forwarder.test('mail')).toMatchObject({ ok: false, said: expect.stringMatching(/certificate/) });
    expect(await forwarder.test('other')).toMatchObject({ ok: false, said: expect.stringMatching(/mail\.example/) });
    expect(await forwarder.test('other address')).toMatchObject({ ok: false, said: expect.stringMatching(/192\.0\.2\.1/) });
    expect(server.mails).toEqual([]);
    expect(await forwarder.test('address')).toMatchObject({ ok: true });
  });

  it('is taken when one address is, and says which is not', async () => {
    server.refuses.set('ben@plant.example', '550 5.1.1 nobody of this name');
    appliance.set([mail()]);
    const forwarder = await appliance.forward();
    expect(await forwarder.test('mail')).toEqual({ ok: true, said: '250 2.0.0 queued as 1; refused: ben@plant.example' });
  });

  it('that the server puts off is sent again, with the same Message-ID', async () => {
    server.refuses.set('DATA', '451 4.3.0 later');
    appliance.set([mail()]);
    const forwarder = await appliance.forward();
    appliance.raise(2);
    await until(() => forwarder.status()[0].state === 'failing', 'it fails');
    expect(forwarder.status()[0].last_error).toMatch(/localhost port \d+: .*451 4\.3\.0 later/);
    server.refuses.clear();
    await until(() => forwarder.status()[0].sent === 2, 'it goes out');
    expect(server.mails.map(({ text }) => /finding \d/.exec(text)?.[0])).toEqual(['finding 1', 'finding 2']);
  });

  it('does not say the password when it is wrong', async () => {
    appliance.set([mail({ username: 'sensor', password: 'not the secret' })]);
    const forwarder = await appliance.forward();
    const { ok, said } = await forwarder.test('mail');
    expect(ok).toBe(false);
    expect(said).toMatch(/535 5\.7\.8/);
    expect(said).not.toMatch(/not the secret/);
    expect(said).not.toContain(Buffer.from('\0sensor\0not the secret').toString('base64'));
  });
});
