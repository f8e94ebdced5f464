// Several middlewares as one: a router that matches a path again before each of them costs more than most of them do.
import type { RequestHandler } from 'express';

export const inOrder = (...handlers: readonly RequestHandler[]): RequestHandler => (req, res, done) => {
  let index = 0;
  const fail = (thrown: unknown) => done(thrown || new Error('nothing was thrown')); // which would count as no error
  const next = (error?: unknown): void => {
    const handler = error ? undefined : handlers[index++];
    if (!handler) return void done(error);
    try {
      const running: unknown = handler(req, res, next);
      if (running instanceof Promise) running.catch(fail);
    } catch (thrown) {
      fail(thrown);
    }
  };
  next();
};
