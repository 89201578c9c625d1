// The access token of this host and the questions the page itself asks with it.
// The token lives in sessionStorage: per host and per browser tab, gone when the tab closes.

const STORAGE_KEY = "atrium.token";

export interface Problem {
  message: string;
  code?: string;
}

export class RequestFailed extends Error {}

export class Session {
  private token: string;
  private readonly listeners = new Set<() => void>();

  constructor(readonly endpoint: string) {
    this.token = stored();
  }

  /** The bare token; "" when signed out. */
  readonly current = (): string => this.token;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Takes what a person pastes: surrounding space and a leading "Bearer" are dropped. */
  readonly set = (written: string): void => {
    const token = written.trim().replace(/^bearer\s+/i, "");
    if (token === this.token) return;
    this.token = token;
    store(token);
    for (const listener of this.listeners) listener();
  };

  readonly authorization = (): string | null => (this.token === "" ? null : `Bearer ${this.token}`);

  /** Runs one operation with the token in the box. Throws RequestFailed with words for a person. */
  async ask<Data>(query: string, variables: Record<string, unknown> = {}, signal?: AbortSignal): Promise<Data> {
    const headers: Record<string, string> = { "content-type": "application/json", accept: "application/json" };
    const authorization = this.authorization();
    if (authorization !== null) headers.authorization = authorization;
    const body = JSON.stringify({ query, variables });
    const response = await fetch(this.endpoint, { method: "POST", headers, body, signal: signal ?? null });
    const answer = await answerOf<Data>(response);
    const first = answer.errors?.[0];
    if (first !== undefined) throw new RequestFailed(inWords(first));
    if (answer.data === undefined || answer.data === null) {
      throw new RequestFailed(`The server answered with status ${response.status} and no data.`);
    }
    return answer.data;
  }
}

interface GraphQLAnswer<Data> {
  data?: Data | null;
  errors?: { message: string; extensions?: { code?: string } }[];
}

async function answerOf<Data>(response: Response): Promise<GraphQLAnswer<Data>> {
  try {
    return (await response.json()) as GraphQLAnswer<Data>;
  } catch {
    throw new RequestFailed(`The server answered with status ${response.status} and no JSON.`);
  }
}

function inWords(error: { message: string; extensions?: { code?: string } }): string {
  const code = error.extensions?.code;
  return code === undefined ? error.message : `${error.message} (${code})`;
}

/** The refusals of a mutation's payload as one sentence, or null when there are none. */
export function refusal(userErrors: Problem[]): string | null {
  if (userErrors.length === 0) return null;
  return userErrors.map((error) => (error.code ? `${error.message} (${error.code})` : error.message)).join(" ");
}

// A browser may forbid storage altogether; the token then lasts as long as the page.
function stored(): string {
  try {
    return sessionStorage.getItem(STORAGE_KEY) ?? "";
  } catch {
    return "";
  }
}

function store(token: string): void {
  try {
    if (token === "") sessionStorage.removeItem(STORAGE_KEY);
    else sessionStorage.setItem(STORAGE_KEY, token);
  } catch {
    // Nothing to do: the token is kept in memory.
  }
}
