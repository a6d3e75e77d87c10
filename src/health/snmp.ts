import { createHash } from 'node:crypto';
import net from 'node:net';
import os from 'node:os';
import snmp from 'net-snmp';
import { type Static, Type } from 'typebox';
import type { Notifications, SystemNotification } from '../appliance/notifications.ts';
import { defineSettings, Secret, type Settings, type SettingsFault, secretsGoTo } from '../appliance/settings.ts';
import { log } from '../log.ts';
import { allowedHostsOnly, isHostOrNetwork } from './allowed-hosts.ts';
import type { Health, HealthReport } from './health.ts';
import { BRANCHES, DOCUMENTATION_NUMBER, GAUGE_HIGHEST, NOTIFICATION_OBJECTS, SCALARS, type Syntax, TABLES } from './mib.ts';

const Name = Type.String({ minLength: 1, maxLength: 32, pattern: '^[!-~]+$' });
const User = Type.Object(
  {
    name: Name,
    authentication: Type.Union([Type.Literal('sha'), Type.Literal('sha256')], {
      default: 'sha256',
      description: 'HMAC-SHA-1-96 or HMAC-SHA-256-192.',
    }),
    authentication_password: Secret('At least eight characters (RFC 3414, 11.2).'),
    privacy: Type.Union([Type.Literal('aes'), Type.Literal('none')], {
      default: 'aes',
      description: 'AES-128, or nothing is encrypted.',
    }),
    privacy_password: Secret('At least eight characters.'),
  },
  { additionalProperties: false },
);
const Receiver = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 64 }),
    host: Type.String({ minLength: 1, maxLength: 253 }),
    port: Type.Integer({ minimum: 1, maximum: 65_535, default: 162 }),
    inform: Type.Boolean({ default: true, description: 'An inform is repeated until it is acknowledged, a trap is sent once.' }),
    community: Secret('For v2c.'),
    user: Type.String({ default: '', maxLength: 32, description: 'For v3: one of the users.' }),
  },
  { additionalProperties: false, ...secretsGoTo('host', 'port') },
);

export const SNMP = defineSettings({
  name: 'snmp',
  description: 'The SNMP agent: v2c by communities, v3 by users; informs and traps of what the appliance tells of itself.',
  schema: Type.Object(
    {
      enabled: Type.Boolean({ default: false }),
      address: Type.String({ default: '0.0.0.0', maxLength: 45, description: 'Of the management interface.' }),
      port: Type.Integer({ minimum: 1, maximum: 65_535, default: 161 }),
      enterprise_number: Type.Integer({
        minimum: 1,
        maximum: 2 ** 31 - 1,
        default: DOCUMENTATION_NUMBER,
        description: 'Under which our MIB stands: your own, or that for documentation (RFC 5612).',
      }),
      contact: Type.String({ default: '', maxLength: 255, description: 'sysContact.' }),
      location: Type.String({ default: '', maxLength: 255, description: 'sysLocation.' }),
      allowed_hosts: Type.Array(Type.String({ minLength: 2, maxLength: 49 }), {
        default: [],
        maxItems: 100,
        description:
          'Addresses and networks (10.0.0.0/8) that are answered, by any version; others get no answer, and are counted. None: all.',
      }),
      communities: Type.Array(
        Type.Object({ name: Type.String({ minLength: 1, maxLength: 64 }), community: Secret('For reading.') }),
        {
          default: [],
          maxItems: 16,
        },
      ),
      users: Type.Array(User, { default: [], maxItems: 16 }),
      receivers: Type.Array(Receiver, { default: [], maxItems: 16 }),
    },
    { additionalProperties: false },
  ),
  check: ({ address, allowed_hosts, users, receivers }) => {
    const faults: SettingsFault[] = [];
    allowed_hosts.forEach((one, i) => {
      if (!isHostOrNetwork(one)) faults.push({ at: `/allowed_hosts/${i}`, message: 'it is neither an address nor a network' });
    });
    if (net.isIP(address) === 0) faults.push({ at: '/address', message: 'it is no address' });
    users.forEach(({ authentication_password, privacy, privacy_password }, i) => {
      if (authentication_password.length < 8)
        faults.push({ at: `/users/${i}/authentication_password`, message: 'it has fewer than 8 characters' });
      if (privacy !== 'none' && privacy_password.length < 8)
        faults.push({ at: `/users/${i}/privacy_password`, message: 'it has fewer than 8 characters' });
    });
    receivers.forEach(({ user, community }, i) => {
      if (user !== '' && !users.some((one) => one.name === user))
        faults.push({ at: `/receivers/${i}/user`, message: `there is no user "${user}"` });
      if (user === '' && community === '')
        faults.push({ at: `/receivers/${i}`, message: 'it needs a community (v2c) or a user (v3)' });
    });
    return faults;
  },
});

type SnmpSettings = Static<typeof SNMP.schema>;

/** Of the library, what its types leave out: the agent. */
interface Agent {
  getAuthorizer(): {
    addCommunity(community: string): void;
    addUser(user: snmp.User): void;
    getAccessControlModel(): {
      setCommunityAccess(name: string, level: number): void;
      setUserAccess(name: string, level: number): void;
    };
  };
  getMib(): {
    registerProvider(definition: object): void;
    setScalarValue(name: string, value: Cell): void;
    addTableRow(name: string, cells: Cell[]): void;
    deleteTableRow(name: string, index: number[]): void;
    setTableSingleCell(name: string, column: number, index: number[], value: Cell): void;
  };
  close(): void;
}
type Cell = string | number | Buffer;
const library = snmp as typeof snmp & {
  createAgent(options: object, callback: (error: Error | null) => void): Agent;
  AccessControlModelType: { Simple: number };
  AccessLevel: { ReadOnly: number };
  MibProviderType: { Scalar: number; Table: number };
  MaxAccess: Record<string, number>;
};

const REFRESH_MS = 5000;
const SYSTEM = '1.3.6.1.2.1.1';
const MAX_AT_ONCE = 50;

/** Answers queries with the health report, and tells receivers of each new system notification. It only reads: nothing can be set. */
export class SnmpAgent {
  private readonly health: Health;
  private readonly settings: Settings;
  private readonly notifications: Notifications;
  private running: { version: number; agent: Agent | null; value: SnmpSettings; rows: number[] } | null = null;
  private told: number;
  private readonly timer: NodeJS.Timeout;

  constructor(health: Health, settings: Settings, notifications: Notifications) {
    this.health = health;
    this.settings = settings;
    this.notifications = notifications;
    this.told = notifications.newestId();
    this.refresh();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  stop(): void {
    clearInterval(this.timer);
    this.running?.agent?.close();
    this.running = null;
  }

  private refresh(): void {
    try {
      const { version, value } = this.settings.read(SNMP);
      if (this.running?.version !== version) this.restart(version, value);
      if (this.running?.agent) fill(this.running.agent, this.running.rows, value, this.health.report());
      for (const one of this.notifications.list({ after_id: this.told, limit: MAX_AT_ONCE })) {
        this.told = one.id;
        if (value.enabled) for (const receiver of value.receivers) tell(value, receiver, one);
      }
    } catch (error) {
      log.error({ error: (error as Error).message }, 'the SNMP agent could not be brought up to date');
    }
  }

  private restart(version: number, value: SnmpSettings): void {
    this.running?.agent?.close();
    this.running = {
      version,
      value,
      agent: value.enabled ? start(value, () => this.health.snmp_requests_refused++) : null,
      rows: TABLES.map(() => 0),
    };
  }
}

/** `refused` is told of each request of a host that is not allowed. */
function start(value: SnmpSettings, refused: () => void): Agent {
  const { address, port, allowed_hosts, communities, users } = value;
  const options = {
    address,
    port,
    transport: net.isIP(address) === 6 ? 'udp6' : 'udp4',
    disableAuthorization: false,
    engineID: engineId(value.enterprise_number),
    accessControlModelType: library.AccessControlModelType.Simple,
    dgramModule: allowedHostsOnly(allowed_hosts, refused),
  };
  const agent = library.createAgent(options, (error: Error | null) => {
    // Wrong communities and keys are everyday life, and must not fill the log.
    if (error !== null && 'syscall' in error) log.error({ address, port, error: error.message }, 'the SNMP agent cannot listen');
  });
  const authorizer = agent.getAuthorizer();
  const access = authorizer.getAccessControlModel();
  for (const { community } of communities) {
    if (community === '') continue;
    authorizer.addCommunity(community);
    access.setCommunityAccess(community, library.AccessLevel.ReadOnly);
  }
  for (const user of users) {
    authorizer.addUser(userOf(user));
    access.setUserAccess(user.name, library.AccessLevel.ReadOnly);
  }
  const mib = agent.getMib();
  const readOnly = { maxAccess: library.MaxAccess['read-only'] };
  for (const [number, name] of SYSTEM_GROUP)
    mib.registerProvider({
      name,
      type: library.MibProviderType.Scalar,
      oid: `${SYSTEM}.${number}`,
      scalarType: typeOfSystem(name),
      ...readOnly,
    });
  const objects = `1.3.6.1.4.1.${value.enterprise_number}.${BRANCHES.objects}`;
  SCALARS.forEach(({ name, syntax }, i) => {
    const oid = `${objects}.${BRANCHES.scalars}.${i + 1}`;
    mib.registerProvider({
      name,
      type: library.MibProviderType.Scalar,
      oid,
      scalarType: typeOf(syntax),
      ...readOnly,
    });
  });
  TABLES.forEach(({ name, columns }, i) => {
    mib.registerProvider({
      name,
      type: library.MibProviderType.Table,
      oid: `${objects}.${BRANCHES.tables}.${i + 1}.1`,
      ...readOnly,
      tableColumns: [
        { number: 1, name: 'Index', type: snmp.ObjectType.Integer, maxAccess: library.MaxAccess['not-accessible'] },
        ...columns.map((one, column) => ({ number: column + 2, name: one.name, type: typeOf(one.syntax), ...readOnly })),
      ],
      tableIndex: [{ columnName: 'Index' }],
    });
  });
  return agent;
}

/** RFC 3418; the reference product tells its name, its vendor and its platform here. */
const SYSTEM_GROUP = [
  [1, 'sysDescr'],
  [2, 'sysObjectID'],
  [3, 'sysUpTime'],
  [4, 'sysContact'],
  [5, 'sysName'],
  [6, 'sysLocation'],
] as const;

function typeOfSystem(name: string): number {
  if (name === 'sysObjectID') return snmp.ObjectType.OID;
  return name === 'sysUpTime' ? snmp.ObjectType.TimeTicks : snmp.ObjectType.OctetString;
}

function typeOf(syntax: Syntax): number {
  if (syntax === 'text') return snmp.ObjectType.OctetString;
  if (syntax === 'gauge') return snmp.ObjectType.Gauge;
  return syntax === 'counter64' ? snmp.ObjectType.Counter64 : snmp.ObjectType.Integer;
}

function encoded(syntax: Syntax, value: string | number | boolean): Cell {
  if (typeof syntax !== 'string') return syntax.indexOf(String(value)) + 1;
  if (syntax === 'truth') return value ? 1 : 2;
  if (syntax === 'text') return Buffer.from(String(value)).subarray(0, 255).toString();
  const number = Math.max(0, Math.floor(Number(value)));
  if (syntax === 'gauge') return Math.min(GAUGE_HIGHEST, number);
  if (syntax === 'integer') return Math.floor(Number(value));
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return bytes;
}

/** `rows`: how many each table has; kept up to date. */
function fill(
  agent: Agent,
  rows_of: number[],
  { enterprise_number, contact, location }: SnmpSettings,
  report: HealthReport,
): void {
  const mib = agent.getMib();
  const system: Record<string, string | number> = {
    sysDescr: `ot-sensor ${report.version}, a passive OT traffic sensor`,
    sysObjectID: `1.3.6.1.4.1.${enterprise_number}`,
    sysUpTime: Math.floor(process.uptime() * 100),
    sysContact: contact,
    sysName: os.hostname(),
    sysLocation: location,
  };
  for (const [name, value] of Object.entries(system)) mib.setScalarValue(name, value);
  for (const { name, syntax, read } of SCALARS) mib.setScalarValue(name, encoded(syntax, read(report)));
  TABLES.forEach(({ name, columns, rows }, table) => {
    const before = rows_of[table];
    const next = rows(report).map((row, i) => [i + 1, ...columns.map((one) => encoded(one.syntax, one.read(row as never)))]);
    for (let i = next.length; i < before; i++) mib.deleteTableRow(name, [i + 1]);
    next.forEach((cells, i) => {
      if (i >= before) mib.addTableRow(name, cells);
      else for (let column = 1; column < cells.length; column++) mib.setTableSingleCell(name, column + 1, [i + 1], cells[column]);
    });
    rows_of[table] = next.length;
  });
}

function userOf({ name, authentication, authentication_password, privacy, privacy_password }: Static<typeof User>): snmp.User {
  return {
    name,
    level: privacy === 'none' ? snmp.SecurityLevel.authNoPriv : snmp.SecurityLevel.authPriv,
    authProtocol: snmp.AuthProtocols[authentication],
    authKey: authentication_password,
    ...(privacy === 'none' ? {} : { privProtocol: snmp.PrivProtocols.aes, privKey: privacy_password }),
  } as snmp.User;
}

/** RFC 3411, 5: the enterprise number and octets of our own, the same after every start. */
export function engineId(enterprise: number): string {
  const number = (enterprise | 0x8000_0000) >>> 0;
  const own = createHash('sha256').update(`ot-sensor ${os.hostname()}`).digest('hex').slice(0, 24);
  return `${number.toString(16).padStart(8, '0')}05${own}`;
}

function tell(
  settings: SnmpSettings,
  { name, host, port, inform, community, user }: Static<typeof Receiver>,
  one: SystemNotification,
): void {
  const { enterprise_number, users } = settings;
  const base = `1.3.6.1.4.1.${enterprise_number}`;
  const options = {
    trapPort: port,
    version: snmp.Version2c,
    retries: 3,
    timeout: 3000,
    transport: net.isIP(host) === 6 ? 'udp6' : 'udp4',
  };
  const known = users.find((candidate) => candidate.name === user);
  const session =
    known === undefined
      ? snmp.createSession(host, community, options as snmp.SessionOptions)
      : snmp.createV3Session(host, userOf(known), {
          ...options,
          version: snmp.Version3,
          engineID: engineId(enterprise_number),
        } as snmp.SessionOptionsV3);
  const said = [one.kind, one.severity, one.title, one.description];
  const varbinds = NOTIFICATION_OBJECTS.map((_, i) => ({
    oid: `${base}.${BRANCHES.objects}.${BRANCHES.notification_objects}.${i + 1}.0`,
    type: snmp.ObjectType.OctetString,
    value: said[i],
  }));
  const done = (error: Error | null) => {
    if (error) log.warn({ receiver: name, error: error.message }, 'an SNMP receiver did not take a notification');
    session.close();
  };
  // A session whose socket fails must not take the process along.
  session.on('error', () => {});
  const oid = `${base}.${BRANCHES.notifications}.1`;
  if (inform) session.inform(oid as never, varbinds as never, done as never);
  else session.trap(oid as never, varbinds as never, done as never);
}
