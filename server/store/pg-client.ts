// One connection to PostgreSQL for one piece of work.
import pg from 'pg';

/** @param name as the server shows it among its connections, after `rollcall` */
export async function withClient<T>(url: string, name: string, options: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...options, connectionString: url, application_name: `rollcall ${name}` });
  client.on('error', () => {}); // the query in hand rejects as well
  try {
    await client.connect();
    return await work(client);
  } finally {
    void client.end().catch(() => {}); // not waited for: a connection that has gone silent does not say goodbye
  }
}
