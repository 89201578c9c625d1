// Signing in as a demo tenant: the ordinary login mutation, with the password the server told
// this page because it is an embedded set-up. Nothing here knows a password of its own.

import type { DemoTenant } from "./config";
import { RequestFailed, refusal, type Problem, type Session } from "./session";

const LOGIN = `mutation ExplorerLogin($input: LoginInput!) {
  login(input: $input) { token userErrors { code message } }
}`;

interface LoginData {
  login: { token: string | null; userErrors: Problem[] };
}

/** Puts the tenant's new token into the session. Throws RequestFailed with words for a person. */
export async function signInAs(session: Session, tenant: DemoTenant): Promise<void> {
  const input = { email: tenant.email, password: tenant.password, device: { name: "Explorer" } };
  const { login } = await session.ask<LoginData>(LOGIN, { input });
  const refused = refusal(login.userErrors);
  if (refused !== null) throw new RequestFailed(refused);
  if (login.token === null) throw new RequestFailed("The server gave no token.");
  session.set(login.token);
}

export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}
