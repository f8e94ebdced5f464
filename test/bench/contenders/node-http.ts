// The limit: Node alone, answering with bytes that were ready before.
import { createServer } from 'node:http';
import { readWorld } from '../world.ts';

const { one, list } = readWorld();
const ready = (text: string) => Buffer.from(text);
const bodies = new Map(Object.entries(one).map(([id, text]) => [id, ready(text)])), all = ready(list);

createServer((req, res) => {
  const path = req.url!.split('?', 1)[0]!; // a request has one
  const body = path.endsWith('/sessions') ? all : bodies.get(path.slice(path.lastIndexOf('/') + 1));
  if (!body) return void res.writeHead(404).end();
  res.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': body.length }).end(body);
}).listen(Number(process.env['PORT']), '127.0.0.1');
