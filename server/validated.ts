// Requests that were found valid before, remembered.
import type { Request, RequestHandler } from 'express';
import type { Matched } from './matched.ts';

/** What is valid of a request besides its path, as handlers get it. */
export type Query = Readonly<Record<string, unknown>>;

const MOST = 1_000, LONGEST = 500;

/**
 * Whether a read is valid depends on its URL alone, and of the ids in it only on their being ids, which `remembering` looks at every time. So what
 * was found good once is good for every such URL. What changes anything, or has a body, or means a header, is judged each time.
 */
export function rememberingGood(judge: RequestHandler, isOfUrlAlone: (operationId: string) => boolean): RequestHandler {
  const good = new Map<string, Query>();
  return (req, res, next) => {
    const context = req as Request & { form?: string; validQuery?: Query; openapi?: Matched }, { form, openapi } = context; // as `remembering` leaves it
    if (form === undefined || !openapi || req.method !== 'GET' || hasBody(req) || req.originalUrl.length > LONGEST || !isOfUrlAlone(openapi.schema.operationId)) return judge(req, res, next);
    const search = req.originalUrl.indexOf('?'), key = search < 0 ? form : form + req.originalUrl.slice(search), known = good.get(key);
    if (known) {
      context.validQuery = known;
      return next();
    }
    judge(req, res, (error?: unknown) => {
      if (!error) {
        if (good.size === MOST) good.clear();
        good.set(key, frozen(req.query));
      }
      next(error);
    });
  };
}

export const hasBody = ({ headers }: Request): boolean => headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** It will be given to many. */
function frozen(query: Request['query']): Query {
  for (const value of Object.values(query)) Object.freeze(value);
  return Object.freeze({ ...query });
}
