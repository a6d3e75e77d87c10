import net from 'node:net';
import tls from 'node:tls';
import { type Static, Type } from 'typebox';
import { isCertificate, type TlsSettings } from '../appliance/outbound.ts';
import { defineSettings, PrivateKey, Secret, type SettingsFault, secretsGoTo } from '../appliance/settings.ts';
import { CATALOGUE, ENGINES, SEVERITIES } from '../detect/catalogue.ts';
import { SMALLEST_LIMIT } from './formats/format.ts';
import { FORMATS, type FormatName } from './formats/index.ts';
import { isTimeZone } from './formats/time.ts';
import { SUBJECT_WORDS } from './subject.ts';

const MAX_PEM = 262_144;
/** A closed shape: a name that is not known is a fault, not silently without effect. */
const CLOSED = { additionalProperties: false } as const;

const choice = <const Name extends string>(names: readonly Name[], chosen: NoInfer<Name>, description: string) =>
  Type.Unsafe<Name>(Type.Enum([...names], { default: chosen, description }));
const toggle = (set: boolean, description: string) => Type.Boolean({ default: set, description });
const text = (maxLength: number, description: string) => Type.String({ default: '', maxLength, description });
const pem = (description: string) => text(MAX_PEM, description);

const Name = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[A-Za-z0-9][A-Za-z0-9 ._()-]*$',
  description: 'what it is called; names are told apart by it',
});
const Enabled = toggle(true, 'off: nothing is sent, and nothing waits; on again, it begins with what comes from then on');
const Host = Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9._:-]+$', description: 'name or address' });
const port = (usual: number) => Type.Integer({ default: usual, minimum: 1, maximum: 65_535, description: 'port' });
const TimeZone = Type.String({
  default: 'UTC',
  maxLength: 64,
  description: 'IANA name (Europe/Berlin) of the times in the text; headers that are UTC by their format stay so',
});
const Tls = Type.Object(
  {
    verify: toggle(true, "check the other side's certificate and its name"),
    server_name: text(253, "the name in the other side's certificate where it is not the host"),
    ca: pem("certificates (PEM) that the other side's is checked against; empty: those of the system"),
    certificate: pem('our certificate with its chain (PEM), for servers that want one of clients'),
    key: PrivateKey('its private key (PEM)'),
    passphrase: PrivateKey('of the private key, where it has one'),
  },
  { ...CLOSED, default: {}, description: 'TLS' },
);

const Syslog = Type.Object(
  {
    name: Name,
    type: Type.Literal('syslog'),
    enabled: Enabled,
    format: choice(Object.keys(FORMATS) as FormatName[], 'rfc5424', 'what a message looks like'),
    transport: choice(['udp', 'tcp', 'tls'], 'udp', 'UDP (RFC 5426) tells nothing of losses; TCP (RFC 6587), TLS (RFC 5425)'),
    host: Host,
    port: port(514),
    framing: choice(
      ['octet_counting', 'newline'],
      'octet_counting',
      'how messages are told apart on TCP and TLS: by their length before each (RFC 6587 §3.4.1), or by a line feed after each (§3.4.2)',
    ),
    confirmation: choice(
      ['closed', 'connected'],
      'closed',
      'TCP and TLS: when messages count as taken. closed: the other side has read to the end of the connection and closed it, a connection a batch; connected: the connection, which stays open, has outlived the messages by settle_ms',
    ),
    settle_ms: Type.Integer({
      default: 1000,
      minimum: 0,
      maximum: 60_000,
      description: 'TCP and TLS: how long the other side must be seen alive after it has messages before they count as taken',
    }),
    max_bytes: Type.Integer({
      default: 2048,
      minimum: SMALLEST_LIMIT,
      maximum: 65_000,
      description: 'longest message; longer ones are shortened',
    }),
    time_zone: TimeZone,
    tls: Tls,
  },
  { ...CLOSED, ...secretsGoTo('host', 'port', 'transport'), title: 'syslog' },
);

const Webhook = Type.Object(
  {
    name: Name,
    type: Type.Literal('webhook'),
    enabled: Enabled,
    url: Type.String({
      minLength: 8,
      maxLength: 2048,
      pattern: '^https?://',
      description: 'an alert a POST is sent there, as JSON',
    }),
    format: choice(
      ['json', 'extended'],
      'json',
      "names of the API; extended: besides them those of the reference product's extended webhook (sensorName, remediationSteps, …)",
    ),
    items_per_post: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 100,
      description: '1: the body is an object. More: an array of up to so many, for receivers that are far away and can read one',
    }),
    headers: Type.Array(
      Type.Object(
        {
          name: Type.String({
            minLength: 1,
            maxLength: 128,
            pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
            description: 'field name',
          }),
          value: Secret('field value'),
        },
        CLOSED,
      ),
      { default: [], maxItems: 32, description: 'header fields that are sent along' },
    ),
    signing_key: Secret('key of the HMAC-SHA256 in the header ot-sensor-signature; empty: not signed'),
    timeout_ms: Type.Integer({ default: 10_000, minimum: 100, maximum: 120_000, description: 'to connect, and for the answer' }),
    tls: Tls,
  },
  { ...CLOSED, ...secretsGoTo('url'), title: 'webhook' },
);

const Email = Type.Object(
  {
    name: Name,
    type: Type.Literal('email'),
    enabled: Enabled,
    host: Host,
    port: port(25),
    security: choice(
      ['none', 'starttls', 'tls'],
      'starttls',
      'none: in clear; starttls: TLS is begun in the connection, and without it nothing is sent; tls: from the first byte (465)',
    ),
    tls: Tls,
    username: text(256, 'empty: the server wants none'),
    password: Secret('password of the mail server'),
    from: Type.String({ minLength: 3, maxLength: 320, description: 'address of the sender' }),
    to: Type.Array(Type.String({ minLength: 3, maxLength: 320 }), { minItems: 1, maxItems: 50, description: 'addresses' }),
    digest_minutes: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 1440,
      description: '0: a mail an alert. Otherwise what comes within this time is one mail',
    }),
    digest_count: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 500,
      description: 'a mail has no more than this, and goes sooner when there are as many',
    }),
    time_zone: TimeZone,
  },
  { ...CLOSED, ...secretsGoTo('host', 'port', 'security'), title: 'email' },
);

const File = Type.Object(
  {
    name: Name,
    type: Type.Literal('file'),
    enabled: Enabled,
    file_name: Type.String({
      default: 'forwarded.jsonl',
      maxLength: 100,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
      description: 'in the folder forward of the data directory; JSON Lines, one line an alert',
    }),
    max_bytes: Type.Integer({
      default: 100 << 20,
      minimum: 65_536,
      maximum: 2 ** 40,
      description: 'a file that has grown to this gets a number (.1 is the latest), and a new one is begun',
    }),
    max_files: Type.Integer({ default: 10, minimum: 1, maximum: 1000, description: 'files in all: the oldest go' }),
  },
  { ...CLOSED, title: 'file' },
);

const Subject = (usual: string, description: string) =>
  Type.String({ default: usual, minLength: 1, maxLength: 200, pattern: '^[A-Za-z0-9_{}.-]+$', description });

const Nats = Type.Object(
  {
    name: Name,
    type: Type.Literal('nats'),
    enabled: Enabled,
    servers: Type.Array(Type.String({ minLength: 1, maxLength: 260, pattern: '^[A-Za-z0-9._:\\[\\]-]+$' }), {
      minItems: 1,
      maxItems: 16,
      description: 'host:port of the servers of one cluster; 4222 where no port is given',
    }),
    alerts_subject: Subject('ot.{site}.{sensor}.alerts', 'subject of alerts; a stream of the server must take it'),
    notifications_subject: Subject('ot.{site}.{sensor}.notifications', 'subject of system notifications'),
    use_tls: toggle(false, 'never without TLS; a server that wants it gets it anyway'),
    tls: Tls,
    username: text(256, 'empty: none'),
    password: Secret('password'),
    token: Secret('instead of user name and password'),
    credentials: Secret('instead of those: the text of a .creds file (JWT and NKEY seed)'),
    timeout_ms: Type.Integer({
      default: 5000,
      minimum: 100,
      maximum: 60_000,
      description: "to connect, and for a publish's acknowledgement",
    }),
  },
  { ...CLOSED, ...secretsGoTo('servers', 'use_tls'), title: 'nats' },
);

const Rule = Type.Object(
  {
    name: Name,
    enabled: toggle(true, 'off: as if it were not there'),
    minimum_severity: choice(SEVERITIES, 'warning', 'this severity and worse'),
    protocols: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
      default: [],
      maxItems: 200,
      description: 'of alerts: any of these; empty: all',
    }),
    engines: Type.Array(choice(ENGINES, 'operational', 'engine'), {
      default: [],
      maxItems: ENGINES.length,
      description: 'of alerts: any of these; empty: all',
    }),
    zones: Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
      default: [],
      maxItems: 200,
      description: 'of alerts: either end is in any of these; empty: all',
    }),
    kinds: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
      default: [],
      maxItems: 200,
      description: 'of alerts: any of these; empty: all',
    }),
    alerts: toggle(true, 'alerts are forwarded'),
    system_notifications: toggle(false, 'notifications of the appliance about itself are forwarded'),
    destinations: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
      minItems: 1,
      maxItems: 50,
      description: 'where to, by name',
    }),
  },
  CLOSED,
);

/**
 * Where alerts and system notifications are forwarded to, and which. An item goes to a destination once, however many rules say so; it
 * goes nowhere where none does.
 */
export const FORWARDING = defineSettings({
  name: 'forwarding',
  description: 'Rules say which alerts and system notifications go to which destinations.',
  schema: Type.Object(
    {
      sensor_name: text(64, "what this sensor is called in what is forwarded; empty: the host's name"),
      site: text(64, 'the site it stands at'),
      sensor_address: Type.String({
        default: '',
        maxLength: 45,
        description: 'its address in the headers that have one; empty: the first of its interfaces',
      }),
      enterprise_number: Type.Integer({
        default: 32_473,
        minimum: 1,
        maximum: 2 ** 31 - 1,
        description: 'private enterprise number (IANA) in structured data; by default that of documentation (RFC 5612)',
      }),
      queue_limit: Type.Integer({
        default: 100_000,
        minimum: 1,
        maximum: 10_000_000,
        description:
          'alerts that may wait for one destination, and as many notifications; of more, the oldest are left out and counted',
      }),
      destinations: Type.Array(Type.Union([Syslog, Webhook, Email, File, Nats]), {
        default: [],
        maxItems: 50,
        description: 'where to',
      }),
      rules: Type.Array(Rule, { default: [], maxItems: 100, description: 'what goes where' }),
    },
    CLOSED,
  ),
  check(value) {
    const { destinations, rules, sensor_address } = value;
    const faults: SettingsFault[] = [];
    const fault = (at: string, message: string) => faults.push({ at, message });
    if (sensor_address !== '' && net.isIP(sensor_address) === 0) fault('/sensor_address', 'is not an address');
    const names = new Set<string>();
    const files = new Set<string>();
    destinations.forEach((destination, i) => {
      const at = `/destinations/${i}`;
      if (names.has(destination.name)) fault(`${at}/name`, `there are two destinations "${destination.name}"`);
      names.add(destination.name);
      if ('time_zone' in destination && !isTimeZone(destination.time_zone))
        fault(`${at}/time_zone`, 'there is no such time zone');
      if ('tls' in destination) tlsFaults(destination.tls, (field, message) => fault(`${at}/tls/${field}`, message));
      if (destination.type === 'webhook') urlFaults(destination.url, (message) => fault(`${at}/url`, message));
      if (destination.type === 'webhook')
        destination.headers.forEach((header, j) => {
          if (OUR_HEADERS.test(header.name)) fault(`${at}/headers/${j}/name`, 'is set by the sensor itself');
          if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(header.value))
            fault(`${at}/headers/${j}/value`, 'has characters that no header can have');
        });
      if (destination.type === 'email')
        for (const [field, address] of [['from', destination.from], ...destination.to.map((one, j) => [`to/${j}`, one])])
          if (!/^[^\s@<>,;"()]+@[^\s@<>,;"()]+$/.test(address)) fault(`${at}/${field}`, 'is not a mail address');
      if (destination.type === 'file') {
        if (files.has(destination.file_name)) fault(`${at}/file_name`, 'two destinations cannot write the same file');
        files.add(destination.file_name);
      }
      if (destination.type === 'nats')
        for (const field of ['alerts_subject', 'notifications_subject'] as const)
          if (!SUBJECT_WORDS.test(destination[field]))
            fault(`${at}/${field}`, 'is not a subject: words separated by dots, {site} and {sensor}');
    });
    const ruleNames = new Set<string>();
    rules.forEach((rule, i) => {
      if (ruleNames.has(rule.name)) fault(`/rules/${i}/name`, `there are two rules "${rule.name}"`);
      ruleNames.add(rule.name);
      rule.destinations.forEach((name, j) => {
        if (!names.has(name)) fault(`/rules/${i}/destinations/${j}`, `there is no destination "${name}"`);
      });
      rule.kinds.forEach((kind, j) => {
        if (!CATALOGUE.some((known) => known.kind === kind))
          fault(`/rules/${i}/kinds/${j}`, `there is no kind of alert "${kind}"`);
      });
    });
    return faults;
  },
});

/** Set by the webhook itself. */
const OUR_HEADERS = /^(host|content-length|content-type|transfer-encoding|connection|idempotency-key|ot-sensor-.*)$/i;

export type ForwardingSettings = Static<(typeof FORWARDING)['schema']>;
export type DestinationSettings = ForwardingSettings['destinations'][number];
export type RuleSettings = ForwardingSettings['rules'][number];
export type SyslogSettings = Static<typeof Syslog>;
export type WebhookSettings = Static<typeof Webhook>;
export type EmailSettings = Static<typeof Email>;
export type FileSettings = Static<typeof File>;
export type NatsSettings = Static<typeof Nats>;

function tlsFaults({ ca, certificate, key, passphrase }: TlsSettings, fault: (field: string, message: string) => void): void {
  for (const [field, value] of Object.entries({ ca, certificate }))
    if (value !== '' && !isCertificate(value)) fault(field, 'is not a certificate in PEM');
  if ((certificate === '') !== (key === '')) fault('key', 'certificate and key go together');
  if (certificate === '' || key === '') return;
  try {
    tls.createSecureContext({ cert: certificate, key, passphrase });
  } catch {
    // What OpenSSL says of it could say something of the key.
    fault('key', 'cannot be read with this passphrase, or does not belong to the certificate');
  }
}

function urlFaults(url: string, fault: (message: string) => void): void {
  try {
    const { username, password } = new URL(url);
    if (username !== '' || password !== '') fault('must not have a user name or password in it: give a header Authorization');
  } catch {
    fault('is not a URL');
  }
}
