// What went wrong, as the server said it: title, detail, what to mend, and the request's id to quote.
import { ConnectionError, ProblemError, ResponseError } from '../index.ts';
import { copyButton, h } from './dom.ts';
import { shown } from './text.ts';

export interface Told { title: string; detail: string | undefined; parts: string[]; requestId: string | undefined; docs: string | undefined }

export function tell(error: unknown): Told {
  if (error instanceof ProblemError) {
    const { title, detail } = error.problem;
    return { title, detail, parts: error.errors.map(({ pointer, detail: part }) => `${pointer} ${part}`), requestId: error.requestId, docs: error.type.startsWith('/docs/') ? error.type : undefined };
  }
  const told = { parts: [], requestId: undefined, docs: undefined };
  if (error instanceof ResponseError) return { ...told, title: 'Something answered that is not Rollcall.', detail: `It said ${error.status}. A proxy may stand between you and the server.`, requestId: error.requestId };
  if (error instanceof ConnectionError) return { ...told, title: 'The server does not answer.', detail: 'It may be restarting, or your network may be down.' };
  return { ...told, title: 'The console failed.', detail: error instanceof Error ? error.message : String(error) };
}

export const codeOf = (error: unknown): string | undefined => (error instanceof ProblemError ? error.code : undefined);

/** As an alert, with a way to try again where there is one. */
export function refusal(error: unknown, { again, requestId: known }: { again?: () => void; requestId?: string } = {}): HTMLElement {
  const { title, detail, parts, requestId = known, docs } = tell(error);
  return h('div', { class: 'refusal', role: 'alert' },
    h('strong', {}, shown(title)),
    detail !== undefined && h('p', {}, shown(detail)),
    parts.length > 0 && h('ul', {}, ...parts.map((part) => h('li', {}, shown(part)))),
    requestId !== undefined && requestLine(requestId),
    (again || docs) && h('p', { class: 'actions' },
      again && h('button', { type: 'button', onclick: again }, 'Try again'),
      docs && h('a', { href: docs, target: '_blank', rel: 'noreferrer' }, 'What this means')));
}

export const requestLine = (requestId: string): HTMLElement =>
  h('p', { class: 'request' }, 'Request ', h('code', {}, shown(requestId)), ' ', copyButton(() => requestId, 'the request id'));
