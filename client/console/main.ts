// Where the console starts: signed out, until a token opens it; signed out again when the token is over.
import { showSignIn, type SignedIn } from './signin.ts';
import { showShell } from './shell.ts';

const root = document.getElementById('app')!; // index.html has it
const baseUrl = location.origin;

function signedOut(reason?: string): void {
  document.title = 'Rollcall';
  showSignIn(root, baseUrl, { ...(reason !== undefined && { reason }), onSignedIn });
}

function onSignedIn(visit: SignedIn, applicationId?: string): void {
  showShell(root, visit, { ...(applicationId !== undefined && { applicationId }), signedOut });
}

signedOut();
