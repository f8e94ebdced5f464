// The log: one JSON object a line, in plain ASCII, whatever callers and databases put into it.
import { pino, type DestinationStream, type Logger } from 'pino';
import { iso } from './iso.ts';

const LONGEST = 1_000, LONGEST_STACK = 3_000;
const DEEPEST = 3;

export function createLog(level: string, destination: DestinationStream = standardOutput()): Logger {
  return pino({
    level, base: undefined, timestamp: () => `,"time":"${iso(Date.now())}"`,
    serializers: { err: (error: unknown) => told(error) },
    hooks: { streamWrite: ascii },
  }, destination);
}

/**
 * Writes an info line of members that are JSON and plain ASCII already. For the line of every request: pino takes as long to make one of an object
 * as SQLite to read a session.
 */
export function writeInfo(log: Logger, members: string, message: string): void {
  if (log.isLevelEnabled('info')) (log as unknown as Record<symbol, DestinationStream>)[pino.symbols.streamSym]!.write(`{"level":30,"time":"${iso(Date.now())}",${members},"msg":"${message}"}\n`); // pino's types keep to themselves where a logger writes
}

const BLOCK = 16_384, FLUSH_MS = 100;

/** A write to a pipe costs as much as reading a session, so lines leave in blocks: when there is one, and ten times a second. */
function standardOutput(): DestinationStream & { flushSync(): void } {
  const destination = pino.destination({ dest: 1, sync: true });
  let block = '';
  const flushSync = () => {
    const lines = block;
    block = '';
    if (lines !== '') destination.write(lines);
  };
  setInterval(flushSync, FLUSH_MS).unref();
  process.once('exit', flushSync);
  return {
    flushSync,
    write(line) {
      block += line;
      if (block.length >= BLOCK) flushSync();
    },
  };
}

/**
 * Control characters are escaped by JSON, but not C1 (a terminal takes U+009B for the start of a command), nor U+2028, at which some readers break
 * lines. Everything beyond ASCII stands inside of strings, so escaping it there leaves the same JSON.
 */
const ascii = (line: string): string => Buffer.byteLength(line) === line.length && !line.includes('\x7f') ? line
  : line.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

interface Told { type?: string; code?: string; message: string; stack?: string; cause?: Told }

/** What helps, and no more: drivers hang on their errors what was sent to them, and URLs with their passwords. */
function told(error: unknown, depth = 0): Told {
  if (!(error instanceof Error)) return { message: cut(text(error)) };
  const { name, message, stack, cause } = error, { code } = error as { code?: unknown };
  return {
    type: cut(String(name)), message: cut(String(message)),
    ...(typeof code === 'string' && { code: cut(code) }),
    ...(depth === 0 && stack && { stack: cut(stack, LONGEST_STACK) }),
    ...(cause !== undefined && depth < DEEPEST && { cause: told(cause, depth + 1) }),
  };
}

const cut = (value: string, longest = LONGEST): string => value.length > longest ? `${value.slice(0, longest)}...` : value;

/** Anything can be thrown, also what cannot be turned into words. */
function text(value: unknown): string {
  try {
    return String(value);
  } catch {
    return 'something without words';
  }
}
