// The limit for open streams: Node alone, which answers with the head of an event stream and writes to all of them when asked to.
import { createServer, type ServerResponse } from 'node:http';

const open = new Set<ServerResponse>();
createServer((req, res) => {
  if (req.url === '/cut') {
    for (const stream of open) stream.end('event: disconnect\ndata: {}\n\n');
    return void res.end();
  }
  if (req.url !== '/events') return void res.writeHead(404).end();
  res.writeHead(200, { 'Content-Type': 'text/event-stream', Connection: 'close' });
  res.write(':\n\n');
  open.add(res);
  res.once('close', () => open.delete(res));
}).listen(Number(process.env['PORT']), '127.0.0.1');
