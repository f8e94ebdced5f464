// Which operation a path names, remembered.
import type { Request, RequestHandler } from 'express';
import { UUID } from './uuid.ts';

/** What the validator leaves on a request of an operation it knows. */
export interface Matched { readonly openApiRoute: string; readonly pathParams: Record<string, string>; readonly schema: { readonly operationId: string } }

type Form = { matched: Matched; names: readonly string[] };

/**
 * Which operation a path names is the validator's to say, and it tries one pattern after the other. What it has said of a path holds for every path
 * that differs only in its ids, so it is asked once for each such form.
 */
export function remembering(match: RequestHandler): RequestHandler {
  const known = new Map<string, Form>();
  return (req, res, next) => {
    const context = req as Request & { openapi?: Matched; form?: string }; // as the validator leaves it, and we
    const ids: string[] = [], form = formOf(req.method, req.originalUrl, ids), found = known.get(form);
    if (found && found.names.length === ids.length) {
      const pathParams: Record<string, string> = {};
      for (let index = 0; index < ids.length; index++) pathParams[found.names[index]!] = ids[index]!; // as many, by the line above
      context.form = form;
      context.openapi = { ...found.matched, pathParams };
      req.params = pathParams;
      return next();
    }
    match(req, res, (error?: unknown) => {
      const { openapi } = context, names = Object.keys(openapi?.pathParams ?? {});
      if (!error && openapi && names.length === ids.length && names.every((name, index) => openapi.pathParams[name] === ids[index])) known.set(form, { matched: openapi, names });
      next(error);
    });
  };
}

const UUID_LENGTH = 36;

/** The method and the path with a `*` for each id; the ids go to `ids`. */
function formOf(method: string, url: string, ids: string[]): string {
  const query = url.indexOf('?'), end = query < 0 ? url.length : query;
  let form = method;
  for (let from = 0; from <= end;) {
    const slash = url.indexOf('/', from), to = slash < 0 || slash > end ? end : slash, part = url.slice(from, to);
    if (from > 0 && part.length === UUID_LENGTH && UUID.test(part)) {
      ids.push(part);
      form += '/*';
    } else form += `/${part}`;
    from = to + 1;
  }
  return form;
}
