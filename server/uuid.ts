// Ids as they stand everywhere: UUIDs in lower case.

export const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Below and above every id: where walks begin. */
export const BEFORE_ALL = '00000000-0000-0000-0000-000000000000', AFTER_ALL = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
