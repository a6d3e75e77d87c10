import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { PcapWriter } from '../../capture/pcap-writer.ts';
import { CATALOGUE, kindOf, SEVERITIES, type Severity } from '../../detect/catalogue.ts';
import { OperatingError } from '../../errors.ts';
import { ot_sensor } from '../../proto/api.js';
import { ALERT_STATUSES, type AlertStatus, MAX_COMMENT_LENGTH } from '../../store/operator.ts';
import { SORTS, type StoreReader } from '../../store/queries.ts';
import type { Answers } from '../answers.ts';
import { actorOf, note } from '../authenticate.ts';
import type { ApiContext } from '../context.ts';
import { ErrorBody } from '../errors.ts';
import { list, type StoreOf } from '../list.ts';
import { Id, IdParams, Ip, Mac, Ms, Nullable, Port, Text, Word, Words, wordsOf } from '../schemas.ts';

export const Alert = Type.Object({
  id: Id,
  kind: Text('What is alerted of, in a word that never changes.'),
  severity: Text('warning, minor, major or critical.'),
  status: Text('open, acknowledged, closed (the same again is a new alert) or muted (the same is counted, and never a new one).'),
  title: Text(),
  description: Text(),
  engine: Text(),
  category: Text(),
  count: Type.Integer({ description: 'How often it was found.' }),
  first_ms: Ms,
  last_ms: Ms,
  source_device: Nullable(Id),
  source_ip: Text(),
  source_mac: Text(),
  source_port: Port,
  source_zone: Text(),
  destination_device: Nullable(Id),
  destination_ip: Text(),
  destination_mac: Text(),
  destination_port: Port,
  destination_zone: Text(),
  segment: Text(),
  proto: Text(),
  app_proto: Text(),
  operation: Text(),
  technique: Text('MITRE ATT&CK for ICS.'),
  details: Type.Record(Type.String(), Type.Unknown()),
  evidence: Type.Integer({ description: 'Packets kept with it.' }),
  comments: Type.Integer(),
  capture_id: Type.Integer(),
  first_frame: Type.Integer(),
  last_frame: Type.Integer(),
});
export type Alert = Static<typeof Alert>;

const Comment = Type.Object({ id: Id, time_ms: Ms, author: Text(), text: Text() });
const Whole = Type.Object({ alert: Alert, remediation: Type.Array(Type.String()), comments: Type.Array(Comment) });

const ALERT_FIELDS = Object.keys(Alert.properties);

/** Throws OperatingError `not_found`. */
function storedAlert(reader: StoreReader, id: number): Alert {
  const [found] = reader.texts('alerts', { id }, ALERT_FIELDS).rows;
  if (found === undefined) throw new OperatingError('not_found', `there is no alert ${id}`);
  return JSON.parse(found.text) as Alert;
}

/** The packets behind an alert as a capture file. Throws OperatingError `not_found` where none were kept. */
export function evidenceFile(reader: StoreReader, id: number): { bytes: Buffer; pcapng: boolean } {
  storedAlert(reader, id);
  const packets = reader.evidence(id).sort((a, b) => a.capture_id - b.capture_id || a.frame - b.frame);
  if (packets.length === 0) throw new OperatingError('not_found', `no packets were kept with alert ${id}`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ot-sensor-'));
  try {
    const file = path.join(folder, 'evidence');
    const writer = new PcapWriter(
      file,
      packets.map((packet) => packet.link_type),
    );
    for (const { bytes, captured, wire, seconds, nanoseconds, link_type } of packets)
      writer.write(bytes, 0, captured, wire, seconds, nanoseconds, link_type);
    writer.close();
    return { bytes: fs.readFileSync(file), pcapng: writer.pcapng };
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** The list alone, of the database that a request is about; the sensor's where left out. */
export function listAlerts(app: FastifyInstance, context: ApiContext, answers: Answers, base = '', store?: StoreOf): void {
  list(app, context, answers, {
    store,
    path: `${base}/alerts`,
    name: 'alerts',
    message: ot_sensor.AlertPage,
    tag: 'alerts',
    summary: 'The alerts, the newest first',
    permission: 'alerts.read',
    row: Alert,
    filter: Type.Object({
      severity: Type.Optional(Words(SEVERITIES)),
      minimum_severity: Type.Optional(Type.String({ enum: [...SEVERITIES] })),
      kind: Type.Optional(Words(CATALOGUE.map((row) => row.kind))),
      status: Type.Optional(Words(ALERT_STATUSES)),
      device: Type.Optional(Id),
      ip: Type.Optional(Ip),
      mac: Type.Optional(Mac),
      protocol: Type.Optional(Word),
      operation: Type.Optional(Word),
      zone: Type.Optional(Word),
      technique: Type.Optional(Word),
      text: Type.Optional(Word),
    }),
    sorts: SORTS.alerts,
    newest_first: true,
    filterOf: ({ severity, minimum_severity, kind, status, ...filter }) => {
      const rank = (one: string | undefined) => SEVERITIES.indexOf(one as Severity);
      const wanted = wordsOf(severity) ?? (minimum_severity === undefined ? undefined : [...SEVERITIES]);
      const severities = wanted?.filter((one) => rank(one) >= rank(minimum_severity));
      return { ...filter, severity: severities, kind: wordsOf(kind), status: wordsOf(status) };
    },
  });
}

export function alerts(app: FastifyInstance, context: ApiContext, answers: Answers): void {
  listAlerts(app, context, answers);
  const tags = ['alerts'];

  const whole = (id: number): Static<typeof Whole> => {
    const { reader } = context.store;
    const alert = storedAlert(reader, id);
    return { alert, remediation: [...kindOf(alert.kind).remediation], comments: reader.comments(id) };
  };

  app.get(
    '/alerts/:id',
    {
      config: { permission: 'alerts.read' },
      schema: {
        tags,
        summary: 'An alert, what to do about it, and what was said of it',
        params: IdParams,
        response: { 200: Whole, '4xx': ErrorBody },
      },
    },
    async (request) => whole((request.params as Static<typeof IdParams>).id),
  );

  app.get(
    '/alerts/:id/packets',
    {
      config: { permission: 'alerts.read' },
      schema: {
        tags,
        summary: 'The packets behind an alert, as a capture file',
        params: IdParams,
        produces: ['application/vnd.tcpdump.pcap'],
        response: { '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof IdParams>;
      const { bytes, pcapng } = evidenceFile(context.store.reader, id);
      void reply.header('content-disposition', `attachment; filename="alert-${id}.${pcapng ? 'pcapng' : 'pcap'}"`);
      return reply.type('application/vnd.tcpdump.pcap').send(bytes);
    },
  );

  app.patch(
    '/alerts/:id',
    {
      config: { permission: 'alerts.manage' },
      schema: {
        tags,
        summary: 'Acknowledge, close, mute or reopen an alert',
        params: IdParams,
        body: Type.Object({ status: Type.String({ enum: [...ALERT_STATUSES] }) }, { additionalProperties: false }),
        response: { 200: Whole, '4xx': ErrorBody },
      },
    },
    async (request) => {
      const { id } = request.params as Static<typeof IdParams>;
      const { status } = request.body as { status: AlertStatus };
      const outcome = context.store.operator.setStatus(id, status);
      if (outcome === 'missing') throw new OperatingError('not_found', `there is no alert ${id}`);
      if (outcome === 'replaced')
        throw new OperatingError('conflict', `after alert ${id} was closed the same was found again, and is an alert of its own`);
      note(context.audit, request, 'alert.status', `${id}`, { status });
      return whole(id);
    },
  );

  app.post(
    '/alerts/:id/comments',
    {
      config: { permission: 'alerts.manage' },
      schema: {
        tags,
        summary: 'Say something about an alert',
        params: IdParams,
        body: Type.Object(
          { text: Type.String({ minLength: 1, maxLength: MAX_COMMENT_LENGTH }) },
          { additionalProperties: false },
        ),
        response: { 201: Whole, '4xx': ErrorBody },
      },
    },
    async (request, reply) => {
      const { id } = request.params as Static<typeof IdParams>;
      const { text } = request.body as { text: string };
      storedAlert(context.store.reader, id);
      if (!context.store.operator.comment(id, actorOf(request).name, text, Date.now()))
        throw new OperatingError('conflict', `alert ${id} has as many comments as it can have`);
      note(context.audit, request, 'alert.comment', `${id}`);
      return reply.code(201).send(whole(id));
    },
  );

  app.get(
    '/alert-kinds',
    {
      config: { permission: 'alerts.read' },
      schema: {
        tags,
        summary: 'Every kind of alert there is',
        response: {
          200: Type.Object({
            items: Type.Array(
              Type.Object({
                kind: Text(),
                title: Text(),
                severity: Text(),
                category: Text(),
                engine: Text(),
                techniques: Type.Array(Type.String()),
                description: Text(),
                remediation: Type.Array(Type.String()),
              }),
            ),
          }),
        },
      },
    },
    async () => ({ items: CATALOGUE }),
  );
}
