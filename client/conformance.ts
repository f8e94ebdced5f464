// What `@rollcall/client/conformance` exports: is an MCP server cut off when it should be? Asked of the running server, from outside.
export type { Check, CheckOptions, Report } from './conformance/check.ts';
export { checkMcpServer } from './conformance/check.ts';
