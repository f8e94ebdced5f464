// A client in a process of its own, to be killed: connects, calls a tool, says so, and stays.
import { connectClient, type ClientKind } from './mcp.ts';

const [kind, url = ''] = process.argv.slice(2);
// The tests give one of the kinds.
const client = await connectClient(kind as ClientKind, url);
await client.call('echo');
process.send?.('connected');
setInterval(() => {}, 60_000);
