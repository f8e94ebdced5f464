// Express with its defaults and nothing else: `res.json` of objects that are there already, or (ANSWER=text) the text that is there already.
import express from 'express';
import { readWorld } from '../world.ts';

const { one, list } = readWorld();
const asText = process.env['ANSWER'] === 'text';
const objects = new Map(Object.entries(one).map(([id, text]) => [id, JSON.parse(text) as object])), all = JSON.parse(list) as object;
const app = express();
const base = '/api/v1/applications/:applicationId/sessions';

const send = (res: express.Response, text: string) => void res.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': Buffer.byteLength(text) }).end(text);
app.get(`${base}/:sessionId`, (req, res) => {
  if (!objects.has(req.params.sessionId)) return void res.sendStatus(404);
  if (asText) send(res, one[req.params.sessionId]!); // it is there, as above
  else res.json(objects.get(req.params.sessionId));
});
app.get(base, (_req, res) => void (asText ? send(res, list) : res.json(all)));
app.listen(Number(process.env['PORT']), '127.0.0.1');
