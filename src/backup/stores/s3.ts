import { createHash } from 'node:crypto';
import fs from 'node:fs';
import aws4 from 'aws4';
import { type Dispatcher, request } from 'undici';
import { parseFileName } from '../names.ts';
import type { S3StoreSettings } from '../settings.ts';
import { type BackupStore, MAX_FILES, type StoredFile, type StoreNetwork, storeFault } from './store.ts';

/** Larger files go in parts of this size; 10,000 parts are the protocol's most. */
const PART = 8 << 20;
const MAX_ANSWER = 8 << 20;

/** A bucket of a store that speaks Amazon S3's protocol, addressed by path, each request signed (AWS Signature Version 4). */
export class S3Store implements BackupStore {
  readonly name: string;
  private readonly settings: S3StoreSettings;
  private readonly part_bytes: number;
  private readonly dispatcher: Dispatcher;

  constructor(settings: S3StoreSettings, network: StoreNetwork, part_bytes = PART) {
    this.name = settings.name;
    this.settings = settings;
    this.part_bytes = part_bytes;
    this.dispatcher = network.dispatcher({
      verify: true,
      server_name: '',
      ca: settings.ca,
      certificate: '',
      key: '',
      passphrase: '',
    });
  }

  put(file: string, name: string): Promise<void> {
    return this.attempt(async () => {
      const { size } = fs.statSync(file);
      const key = `${this.settings.prefix}${name}`;
      if (size <= this.part_bytes) await this.ask('PUT', key, {}, fs.readFileSync(file));
      else await this.putInParts(file, key, size);
    });
  }

  list(): Promise<StoredFile[]> {
    return this.attempt(async () => {
      const files: StoredFile[] = [];
      let token = '';
      do {
        const page: Record<string, string> = { 'list-type': '2', prefix: this.settings.prefix };
        if (token !== '') page['continuation-token'] = token;
        const { text } = await this.ask('GET', '', page);
        for (const [, content] of text.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
          const name = element(content, 'Key').slice(this.settings.prefix.length);
          if (parseFileName(name) !== null) files.push({ name, size: Number(element(content, 'Size')) });
        }
        token = element(text, 'IsTruncated') === 'true' ? element(text, 'NextContinuationToken') : '';
      } while (token !== '' && files.length < MAX_FILES);
      return files;
    });
  }

  remove(name: string): Promise<void> {
    return this.attempt(async () => void (await this.ask('DELETE', `${this.settings.prefix}${name}`, {})));
  }

  async close(): Promise<void> {
    await this.dispatcher.close();
  }

  /** It appears when its parts are put together; where that fails they are taken back. */
  private async putInParts(file: string, key: string, size: number): Promise<void> {
    const upload = element((await this.ask('POST', key, { uploads: '' })).text, 'UploadId');
    if (upload === '') throw new Error('the store began no upload');
    const part_bytes = Math.max(this.part_bytes, Math.ceil(size / 9000));
    const handle = await fs.promises.open(file);
    try {
      const parts: string[] = [];
      for (let at = 0, number = 1; at < size; at += part_bytes, number++) {
        const part = Buffer.alloc(Math.min(part_bytes, size - at));
        const { bytesRead } = await handle.read(part, 0, part.length, at);
        if (bytesRead !== part.length) throw new Error(`${file} became shorter meanwhile`);
        const { etag } = await this.ask('PUT', key, { partNumber: String(number), uploadId: upload }, part);
        if (!/^[\w"-]{1,128}$/.test(etag)) throw new Error('the store gave no ETag for a part');
        parts.push(`<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`);
      }
      const list = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
      const { text } = await this.ask('POST', key, { uploadId: upload }, Buffer.from(list));
      // It may fail with status 200.
      if (text.includes('<Error>')) throw new Error(faultOf(text));
    } catch (error) {
      await this.ask('DELETE', key, { uploadId: upload }).catch(() => {});
      throw error;
    } finally {
      await handle.close();
    }
  }

  private async ask(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    key: string,
    query: Record<string, string>,
    body = Buffer.alloc(0),
  ) {
    const { endpoint, region, bucket, access_key_id, secret_access_key } = this.settings;
    const url = new URL(endpoint);
    const sorted = Object.entries(query)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${encode(name)}=${encode(value)}`);
    const path = `/${bucket}${key === '' ? '' : `/${key.split('/').map(encode).join('/')}`}${sorted.length === 0 ? '' : `?${sorted.join('&')}`}`;
    const headers: Record<string, string> = { 'X-Amz-Content-Sha256': createHash('sha256').update(body).digest('hex') };
    if (method !== 'GET' && method !== 'DELETE') headers['Content-Length'] = String(body.length);
    const signed = aws4.sign(
      { service: 's3', region, method, host: url.host, path, headers },
      { accessKeyId: access_key_id, secretAccessKey: secret_access_key },
    );
    const answer = await request(new URL(path, url), {
      method,
      headers: signed.headers as Record<string, string>,
      body: body.length > 0 ? body : null,
      dispatcher: this.dispatcher,
    });
    const text = await bounded(answer.body);
    if (answer.statusCode >= 300 && !(method === 'DELETE' && answer.statusCode === 404))
      throw new Error(`the store answered ${answer.statusCode}: ${faultOf(text)}`);
    return { text, etag: String(answer.headers.etag ?? '') };
  }

  private async attempt<Result>(act: () => Promise<Result>): Promise<Result> {
    try {
      return await act();
    } catch (error) {
      throw storeFault(this.name, error);
    }
  }
}

/** RFC 3986: all but unreserved characters. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

async function bounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > MAX_ANSWER) throw new Error('the store answered with more than it should');
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The text of an element of the store's XML; '' where there is none. */
function element(xml: string, name: string): string {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? '';
  return text.replace(/&(amp|lt|gt|quot|apos);/g, (_, entity) => ENTITIES[entity]);
}

function faultOf(xml: string): string {
  const [code, message] = [element(xml, 'Code'), element(xml, 'Message')].map((text) => text.slice(0, 300));
  return code === '' && message === '' ? 'without a reason' : `${code} ${message}`.trim();
}
