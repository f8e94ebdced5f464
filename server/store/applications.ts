// Applications: what sessions belong to, and what belongs to an organization.
import { AFTER_ALL } from '../uuid.ts';
import { applicationOf, type Context } from './context.ts';
import { statements } from './database.ts';
import type { Application, Page, Store } from './store.ts';

export function applications({ db, now, newId }: Context) {
  const sql = statements('applications');
  const insert = sql('insert into applications (id, organization_id, name, created_at) values ($1, $2, $3, $4)');
  const page = sql(`select id, name, organization_id as "organizationId", created_at as "createdAt" from applications
    where organization_id = $1 and deleted_at is null and id = coalesce($2, id) and id < $3 order by id desc limit $4`);

  const createApplication: Store['createApplication'] = async (organizationId, name) => {
    const createdAt = now();
    const id = newId(createdAt);
    await db.transaction((tx) => tx.run(insert, id, organizationId, name, createdAt));
    return { id, name, organizationId, createdAt };
  };

  const listApplications: Store['listApplications'] = async (organizationId, boundTo, { after = AFTER_ALL, limit }) => {
    const rows = await db.all<Application>(page, organizationId, boundTo ?? null, after, limit + 1);
    const items = rows.slice(0, limit);
    return { items, next: rows.length > limit ? items.at(-1)!.id : undefined } satisfies Page<Application>;
  };

  const getApplication: Store['getApplication'] = (tenant) => applicationOf(db, tenant);

  return { createApplication, listApplications, getApplication };
}
