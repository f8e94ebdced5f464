// Fastify with everything it has for speed: schemas for requests and answers, verified tokens cached, the same statements by hand.
import jwt from '@fastify/jwt';
import fastify, { type FastifyRequest } from 'fastify';
import { createPublicKey } from 'node:crypto';
import { publicKeys, readOrCreateSigningKey } from '../../../server/keys.ts';
import { readWorld } from '../world.ts';
import { openRows, statements, toSession, type Row } from './rows.ts';

const rows = openRows(), get = rows.prepare(statements.get), list = rows.prepare(statements.list);
const key = publicKeys(await readOrCreateSigningKey(readWorld().directory)).keys[0]!; // it has one
const app = fastify();
await app.register(jwt, {
  secret: { private: '', public: createPublicKey({ key: { ...key }, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString() },
  verify: { algorithms: ['ES256'], allowedIss: 'rollcall', allowedAud: 'rollcall', cache: true },
});

const uuid = { type: 'string', format: 'uuid' }, moment = { type: 'string' }, text = { type: 'string' }, orNull = { type: ['string', 'null'] };
const session = {
  type: 'object', required: ['id', 'status', 'derivedStatus', 'connectedAt', 'name', 'agentId', 'organizationId', 'createdAt'],
  properties: {
    id: text, status: text, derivedStatus: text, disconnectReason: text, tokenExpiresAt: moment, lastActiveAt: moment, connectedAt: moment, disconnectedAt: moment, name: text, agentId: text,
    organizationId: text, hostname: orNull, userAgent: orNull, clientInfo: { type: ['object', 'null'], additionalProperties: true }, createdAt: moment, userId: text, externalId: text,
  },
};
const status = { type: 'string', enum: ['active', 'inactive', 'all'] }, derivedStatus = { type: 'string', enum: ['active', 'idle', 'expired', 'disconnected'] };

interface Claims { org_id: string; scope: string }
const onRequest = async (request: FastifyRequest) => {
  const { scope } = await request.jwtVerify<Claims>();
  if (!scope.split(' ').includes('sessions:read')) throw Object.assign(new Error('insufficient scope'), { statusCode: 403 });
};
const organizationOf = (request: FastifyRequest): string => (request.user as Claims).org_id; // as verified above
const base = '/api/v1/applications/:applicationId/sessions';

app.get<{ Params: { applicationId: string; sessionId: string } }>(`${base}/:sessionId`, {
  onRequest, schema: { params: { type: 'object', properties: { applicationId: uuid, sessionId: uuid } }, response: { 200: { type: 'object', properties: { session } } } },
}, async (request, reply) => {
  const row = get.get(request.params.applicationId, organizationOf(request), request.params.sessionId) as unknown as Row | undefined; // the statement's shape
  return row ? { session: toSession(row, Date.now()) } : reply.code(404).send();
});
app.get<{ Params: { applicationId: string }; Querystring: { limit: number } }>(base, {
  onRequest, schema: {
    params: { type: 'object', properties: { applicationId: uuid } },
    querystring: { type: 'object', additionalProperties: false, properties: { limit: { type: 'integer', minimum: 1, maximum: 1000, default: 50 }, status, derivedStatus, userId: text, clientName: text, hostname: text, cursor: text } },
    response: { 200: { type: 'object', properties: { items: { type: 'array', items: session }, nextCursor: text } } },
  },
}, async (request) => {
  const found = list.all(request.params.applicationId, organizationOf(request), 'ffffffff-ffff-ffff-ffff-ffffffffffff', request.query.limit + 1) as unknown as Row[]; // as above
  const now = Date.now();
  return { items: found.slice(0, request.query.limit).map((row) => toSession(row, now)) };
});
await app.listen({ port: Number(process.env['PORT']), host: '127.0.0.1' });
