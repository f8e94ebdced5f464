// A network between a client and the service that can be cut and mended, and can lead to another instance.
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

export interface Proxy {
  readonly url: string;
  /** Breaks every connection, and those that are tried from now on. */
  cut(): void;
  /** Lets connections through again. */
  mend(): void;
  /** Where connections lead from now on. */
  leadTo(url: string): void;
  close(): Promise<void>;
}

export async function startProxy(target: string): Promise<Proxy> {
  let port = Number(new URL(target).port), isCut = false;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // the other end is told by the close
  };
  const server = createServer((near) => {
    keep(near);
    if (isCut) return void near.destroy();
    const far = connect(port, '127.0.0.1');
    keep(far);
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // it listens on TCP
    cut,
    mend() { isCut = false; },
    leadTo(url) { port = Number(new URL(url).port); },
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
