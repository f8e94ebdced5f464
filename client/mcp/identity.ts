// Who a request comes from: its principal, its credential, and the keys under which its session is found again.
/// <reference types="node" />
import { createHash } from 'node:crypto';
import { headerOf, type McpRequest } from './http.ts';
import type { Message } from './message.ts';

/** What a client authenticated with. */
export interface Credential {
  /** Opaque, never the token itself; what a revoke denies. */
  id: string;
  /** Until when a revoke has to deny it. For a grant that is when the grant ends, not its current token. */
  expiresAt?: Date | undefined;
}

/** How long a claim that outlives its tokens is denied, when nobody said how long it lives; milliseconds. */
const STABLE_CREDENTIAL_MS = 30 * 24 * 3_600_000;
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * `sid:` and the session claim where the verifier kept one in `auth.extra.sid`, else `sha256:` and the hash of the token:
 * of what was signed, without the signature, because anybody can compute a second valid form of some signatures.
 */
export function defaultCredential({ auth }: McpRequest): Credential | undefined {
  if (!auth) return undefined;
  const sid = auth.extra?.['sid'];
  if (isLine(sid, 200)) return stable(`sid:${sid}`);
  // Only a JWT is cut: an opaque token with a dot in it is one piece.
  const signed = JWT.test(auth.token) ? auth.token.slice(0, auth.token.lastIndexOf('.')) : auth.token;
  return { id: `sha256:${sha256(signed)}`, expiresAt: tokenExpiry(auth.expiresAt) };
}

/** What the host's own callback answered; an id that the service would not take is hashed. */
export function toCredential(given: Credential | string | undefined): Credential | undefined {
  if (given === undefined || given === '') return undefined;
  if (typeof given === 'string') return stable(fitting(given));
  return { ...given, id: fitting(given.id) };
}

/** The OAuth client and the user together: what a session is bound to. */
export function defaultPrincipal({ auth }: McpRequest): string | undefined {
  return auth && `${auth.clientId}:${String(auth.extra?.['sub'] ?? '')}`;
}

export function defaultUserId({ auth }: McpRequest): string | undefined {
  const sub = auth?.extra?.['sub'];
  return typeof sub === 'string' && sub !== '' ? sub : undefined;
}

export function tokenExpiry(seconds: number | undefined): Date | undefined {
  const date = new Date((seconds ?? NaN) * 1_000);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** Where a connection of the 2025 era is kept in this process: the MCP session id works like a password, so only its hash is. */
export function sessionKey(mcpSessionId: string): string {
  return `mcp:${sha256(mcpSessionId)}`;
}

/** The same for the service. The principal is part of it, so that nobody takes over a row by knowing its id. */
export function externalIdOf(key: string, principal: string | undefined): string {
  return `mcp:${sha256(JSON.stringify([key, principal ?? null]))}`;
}

/**
 * Where a logical session of the 2026 era is kept: the same principal, credential and client are the same session. Without
 * authentication there is only the address and the user agent to go by.
 */
export function logicalKey(request: McpRequest, message: Message, principal?: string, credential?: Credential): string {
  const info: { name?: unknown; version?: unknown } = Object(message.clientInfo);
  const who = credential?.id ?? (principal === undefined && [request.ip, headerOf(request, 'user-agent')]);
  return `modern:${sha256(JSON.stringify([principal, who, info.name, info.version]))}`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

function stable(id: string): Credential {
  return { id, expiresAt: new Date(Date.now() + STABLE_CREDENTIAL_MS) };
}

function fitting(id: string): string {
  return isLine(id, 255) ? id : `sha256:${sha256(id)}`;
}

function isLine(value: unknown, longest: number): value is string {
  return typeof value === 'string' && [...value].length <= longest && /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u.test(value);
}
