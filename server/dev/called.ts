// How a development tool is called: usage for --help and after a mistake; ends as the rollcall command does, with 2 when it was called in a wrong way.
import { Command, InvalidArgumentError, Option } from 'commander';

export const called = (name: string, does: string): Command =>
  new Command(`npm run ${name} --`).description(does).usage('[options]').showHelpAfterError().allowExcessArguments(false)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));

export const whole = (least: number, most: number) => (text: string): number => {
  if (!/^\d+$/.test(text) || Number(text) < least || Number(text) > most) throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  return Number(text);
};

/** 0 takes any free one. */
export const port = (usual: number): Option => new Option('--port <n>', 'where it listens').argParser(whole(0, 65_535)).default(usual).env('PORT');

/** Why a server did not start. */
export const whyNot = (error: unknown): string =>
  !(error instanceof Error) ? String(error) : 'code' in error && error.code === 'EADDRINUSE' ? 'its port is taken; --port chooses another' : error.message;
