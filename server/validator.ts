// The validator that holds requests, and in tests answers, against the contract.
import type { RequestHandler } from 'express';
import { middleware as validator } from 'express-openapi-validator';
import { fileURLToPath } from 'node:url';
import { isDateTime } from './query.ts';
import { UUID } from './uuid.ts';

/** Where the contract is, as JSON. */
export const contract = fileURLToPath(new URL('../generated/openapi.json', import.meta.url));

/** The validator, which takes a while to make: once in a process, however many services are in it. */
const validators = new Map<boolean, RequestHandler[]>();
export function validatorOf(validateResponses: boolean): RequestHandler[] {
  let made = validators.get(validateResponses);
  if (made === undefined) {
    validators.set(validateResponses, made = validator({
      apiSpec: contract,
      validateRequests: { allErrors: true, allowUnknownQueryParameters: true }, // `checkQuery` names all that are unknown, not only the first
      validateResponses,
      fileUploader: false,
      formats: { uuid: UUID, 'date-time': { type: 'string', validate: isDateTime }, 'json-pointer': /^(?:\/(?:[^~/]|~[01])*)*$/ },
      ajvFormats: { mode: 'full' },
      validateSecurity: false, // `authenticate` answers all alternatives of `security` together, so that the caller hears one refusal
    }) as RequestHandler[]); // as Express has them
  }
  return made;
}
