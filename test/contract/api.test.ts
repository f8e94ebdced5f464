// The API suite, on both implementations of the contract.
import { startMock } from '../../server/dev/mock.ts';
import { apiSuite } from '../suites/api.ts';
import { startTestService } from '../support/service.ts';

apiSuite('the server', async () => {
  const test = await startTestService();
  return { url: test.url, token: await test.token(), stateful: true, close: () => test.close() };
});

apiSuite('the mock', async () => {
  const { url, close } = await startMock();
  return { url, token: 'any', stateful: false, close };
});
