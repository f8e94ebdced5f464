// What is shown where there is nothing: why, and the command that changes it.
import type { Access } from './access.ts';
import { command, h } from './dom.ts';
import { sessions, shown } from './text.ts';

export const noApplications = ({ baseUrl }: Access, again: () => void): HTMLElement => h('div', { class: 'empty' },
  h('h1', {}, 'There is no application yet'),
  h('p', {}, 'Sessions belong to an application. A token with applications:write makes one:'),
  command(`curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \\\n  --json '{"name":"My MCP server"}' ${baseUrl}/api/v1/applications`, 'the command that creates an application'),
  h('p', {}, h('button', { type: 'button', onclick: again }, 'Look again')));

/** @param other where to go instead */
export const noSuchApplication = (id: string, other: { name: string; open: () => void } | undefined): HTMLElement => h('div', { class: 'empty', role: 'alert' },
  h('h1', {}, 'There is no such application'),
  h('p', {}, 'The address names ', h('code', {}, shown(id)), '.'),
  h('p', {}, 'It was deleted, or it belongs to another organization than your token, or the id is mistyped.'),
  other && h('p', {}, h('button', { type: 'button', onclick: other.open }, 'Open ', h('bdi', {}, other.name), ' instead')));

/** @param were how many are over, and still kept */
export const nobody = ({ baseUrl }: Access, applicationId: string, were: number, show: () => void): HTMLElement => were > 0 ? h('div', { class: 'empty' },
  h('h2', {}, 'Nobody is connected'),
  h('p', {}, 'A session appears here the moment a client connects.'),
  h('p', {}, h('button', { type: 'button', onclick: show }, `Show the ${sessions(were)} that ${were === 1 ? 'is' : 'are'} over`))) : h('div', { class: 'empty' },
  h('h2', {}, 'Nobody is connected'),
  h('p', {}, 'A session appears here the moment a client connects. To make a first one:'),
  command(`curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \\\n  --json '{"hostname":"my-laptop","clientInfo":{"name":"curl"}}' \\\n  ${baseUrl}/api/v1/applications/${applicationId}/sessions`, 'the command that creates a session'),
  h('p', { class: 'note' }, 'or, from a checkout of Rollcall, fifty realistic ones: ', h('code', {}, `npm run seed -- --application ${applicationId}`)));

export const noMatch = (searched: boolean, clear: () => void): HTMLElement => h('div', { class: 'empty' },
  h('h2', {}, searched ? 'No loaded row contains that' : 'No session matches these filters'),
  h('p', {}, searched ? 'The search looks through the rows that are loaded; the filters ask the server.' : 'Filters are exact and case-sensitive, and all of them must hold.'),
  h('p', {}, h('button', { type: 'button', onclick: clear }, searched ? 'Clear the search' : 'Clear the filters')));
