// This very stack as one writes it on the first day: the validator for requests and answers, a token verified by each request, a query built by each call.
import express from 'express';
import { middleware as validator } from 'express-openapi-validator';
import { createLocalJWKSet, jwtVerify, type JWTPayload } from 'jose';
import { Kysely, SqliteDialect, sql } from 'kysely';
import { fileURLToPath } from 'node:url';
import { publicKeys, readOrCreateSigningKey } from '../../../server/keys.ts';
import { readWorld } from '../world.ts';
import { openRows, toSession, type Row } from './rows.ts';

interface Tables {
  applications: { id: string; organization_id: string; generation: number; deleted_at: number | null };
  plain_sessions: Omit<Row, 'current' | 'revoked_at'>;
  session_activity: { application_id: string; id: string; last_active_at: number | null };
  revocations: { application_id: string; generation: number | null; created_at: number };
}

const rows = openRows();
const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: {
  close: () => rows.close(),
  prepare(text) {
    const statement = rows.prepare(text);
    type Values = Parameters<typeof statement.all>; // Kysely knows them only as unknown
    return { reader: true, all: (values) => statement.all(...values as Values), run: (values) => statement.run(...values as Values), iterate: (values) => statement.iterate(...values as Values) };
  },
} }) });

const sessionsOf = (applicationId: string, organizationId: string) => db.selectFrom('applications as a')
  .innerJoin('plain_sessions as s', 's.application_id', 'a.id')
  .leftJoin('session_activity as b', (join) => join.onRef('b.application_id', '=', 's.application_id').onRef('b.id', '=', 's.id'))
  .leftJoin('revocations as r', (join) => join.onRef('r.application_id', '=', 's.application_id').onRef('r.generation', '=', 's.generation'))
  .selectAll('s').select(['a.generation as current', 'r.created_at as revoked_at', sql<number | null>`coalesce(b.last_active_at, s.last_active_at)`.as('last_active_at')])
  .where('a.id', '=', applicationId).where('a.organization_id', '=', organizationId).where('a.deleted_at', 'is', null);

const keys = createLocalJWKSet(publicKeys(await readOrCreateSigningKey(readWorld().directory)));
const verify = async (req: express.Request, scopes: readonly string[]) => {
  const { payload } = await jwtVerify(req.headers.authorization?.replace(/^Bearer /, '') ?? '', keys, { issuer: 'rollcall', audience: 'rollcall', requiredClaims: ['exp'] });
  (req as express.Request & { claims?: JWTPayload }).claims = payload;
  return scopes.every((scope) => String(payload['scope']).split(' ').includes(scope));
};
const organizationOf = (req: express.Request) => String((req as express.Request & { claims?: JWTPayload }).claims?.['org_id']); // set by `verify`

const app = express();
app.use(express.json());
app.use(validator({
  apiSpec: fileURLToPath(new URL('../../../generated/openapi.json', import.meta.url)), validateRequests: true, validateResponses: true,
  validateSecurity: { handlers: { bearerAuth: (req, scopes) => verify(req as express.Request, scopes) } },
}));
const base = '/api/v1/applications/:applicationId/sessions';
app.get(`${base}/:sessionId`, async (req, res) => {
  const row = await sessionsOf(req.params.applicationId, organizationOf(req)).where('s.id', '=', req.params.sessionId).executeTakeFirst();
  if (!row) return void res.sendStatus(404);
  res.json({ session: toSession(row, Date.now()) });
});
app.get(base, async (req, res) => {
  const found = await sessionsOf(req.params.applicationId, organizationOf(req)).where('s.state', '=', 0).whereRef('s.generation', '=', 'a.generation')
    .orderBy('s.id', 'desc').limit(Number(req.query['limit']) + 1).execute();
  res.json({ items: found.slice(0, Number(req.query['limit'])).map((row) => toSession(row, Date.now())) });
});
app.listen(Number(process.env['PORT']), '127.0.0.1');
