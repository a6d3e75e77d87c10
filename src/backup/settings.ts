import { type Static, Type } from 'typebox';
import { defineSettings, PrivateKey, Secret, type SettingsFault, secretsGoTo } from '../appliance/settings.ts';
import { OperatingError } from '../errors.ts';
import { publicKey } from './cipher.ts';

const name = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^[A-Za-z0-9][A-Za-z0-9_. -]*$',
  description: 'What it is called.',
});
const host = Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9.:_-]+$', description: 'Host name or address.' });
const closed = { additionalProperties: false };

const Directory = Type.Object(
  {
    name,
    type: Type.Literal('directory'),
    path: Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: '^/',
      description: 'A folder, such as where SMB or NFS is mounted.',
    }),
    require_mount: Type.Boolean({
      default: true,
      description: 'Refuse while nothing is mounted there, instead of filling the disk of the appliance.',
    }),
  },
  closed,
);

const Sftp = Type.Object(
  {
    name,
    type: Type.Literal('sftp'),
    host,
    port: Type.Integer({ minimum: 1, maximum: 65_535, default: 22 }),
    user: Type.String({ minLength: 1, maxLength: 128 }),
    host_key: Type.String({
      pattern: '^SHA256:[A-Za-z0-9+/]{43}$',
      description: "Fingerprint of the server's key, as ssh-keygen -lf shows it. Another key is refused.",
    }),
    password: Secret('Password of the user; or give a key.'),
    private_key: PrivateKey("The user's private key, in OpenSSH's format or PEM."),
    path: Type.String({ minLength: 1, maxLength: 1024, default: '.', description: 'Folder on the server.' }),
  },
  { ...closed, ...secretsGoTo('host', 'port', 'host_key') },
);

const S3 = Type.Object(
  {
    name,
    type: Type.Literal('s3'),
    endpoint: Type.String({
      minLength: 1,
      maxLength: 512,
      pattern: '^https?://[A-Za-z0-9.:\\[\\]_-]+/?$',
      description: 'https://host:port',
    }),
    region: Type.String({ minLength: 1, maxLength: 64, default: 'us-east-1' }),
    bucket: Type.String({ pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$' }),
    prefix: Type.String({
      maxLength: 256,
      default: '',
      pattern: '^([A-Za-z0-9_.-]+/)*$',
      description: 'A folder: ends in a slash.',
    }),
    access_key_id: Type.String({ minLength: 1, maxLength: 128 }),
    secret_access_key: Secret('The secret access key.'),
    ca: Type.String({ maxLength: 65_536, default: '', description: "Certificates (PEM) to trust instead of the system's." }),
  },
  { ...closed, ...secretsGoTo('endpoint') },
);

export type DirectoryStoreSettings = Static<typeof Directory>;
export type SftpStoreSettings = Static<typeof Sftp>;
export type S3StoreSettings = Static<typeof S3>;
export type StoreSettings = DirectoryStoreSettings | SftpStoreSettings | S3StoreSettings;

export const BACKUP = defineSettings({
  name: 'backup',
  description: 'Backups: when, where to, what of them is kept, and who can open them.',
  schema: Type.Object(
    {
      enabled: Type.Boolean({ default: true, description: 'Make one each day.' }),
      time: Type.String({
        default: '03:00',
        pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$',
        description: "When, by the appliance's clock.",
      }),
      sensor_name: Type.String({
        default: '',
        maxLength: 64,
        pattern: '^[A-Za-z0-9_.-]*$',
        description: 'Begins the name of each file; left out: the name of the host.',
      }),
      directory: Type.String({
        default: '',
        maxLength: 1024,
        pattern: '^(/.*)?$',
        description: 'Where they are kept; left out: backups in the data directory.',
      }),
      keys: Type.Boolean({
        default: false,
        description:
          'With private keys and passwords. Without, these have to be given again after a restore on another appliance.',
      }),
      passphrase: Secret('Encrypts them. Whoever loses it cannot open them.'),
      public_key: Type.String({
        default: '',
        maxLength: 4096,
        description: 'An X25519 public key (PEM) that encrypts them instead; only its private key, kept elsewhere, opens them.',
      }),
      keep_count: Type.Integer({
        default: 20,
        minimum: 1,
        maximum: 1000,
        description: 'So many are kept, here and in each store.',
      }),
      keep_days: Type.Integer({ default: 0, minimum: 0, maximum: 36_500, description: 'Older ones go; 0: no limit.' }),
      keep_bytes: Type.Integer({
        default: 0,
        minimum: 0,
        maximum: 2 ** 50,
        description: 'All together are no larger; 0: no limit. The newest always stays.',
      }),
      drill: Type.Boolean({
        default: true,
        description: 'Once a month restore the newest into a scratch folder, to see that it can be.',
      }),
      stores: Type.Array(Type.Union([Directory, Sftp, S3]), {
        default: [],
        maxItems: 8,
        description: 'Each backup is copied there too.',
      }),
    },
    closed,
  ),
  check({ passphrase, public_key, keys, stores }) {
    const faults: SettingsFault[] = [];
    if (passphrase !== '' && public_key !== '')
      faults.push({ at: '/public_key', message: 'a passphrase and a public key cannot both encrypt: leave one out' });
    if (keys && passphrase === '' && public_key === '')
      faults.push({ at: '/keys', message: 'backups with keys are encrypted: give a passphrase or a public key' });
    if (public_key !== '') {
      try {
        publicKey(public_key);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        faults.push({ at: '/public_key', message: error.message });
      }
    }
    stores.forEach((store, i) => {
      if (stores.findIndex((other) => other.name === store.name) !== i)
        faults.push({ at: `/stores/${i}/name`, message: `two stores are called ${store.name}` });
      if (store.type === 'sftp' && store.password === '' && store.private_key === '')
        faults.push({ at: `/stores/${i}`, message: 'give a password or a private key' });
    });
    return faults;
  },
});

export type BackupSettings = Static<(typeof BACKUP)['schema']>;
