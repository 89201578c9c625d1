// How GraphiQL's operations reach the server: queries and mutations by POST, subscriptions by
// graphql-transport-ws, both with the token of the token box.

import { createGraphiQLFetcher, type Fetcher, type FetcherOpts, type FetcherParams } from "@graphiql/toolkit";
import { Kind, parse, type DocumentNode, type OperationDefinitionNode } from "graphql";
import { createClient, type Client } from "graphql-ws";
import type { Session } from "./session";

// One more try after a lost socket; a server that refuses says so at once instead of after a minute.
const SOCKET_RETRIES_MAX = 1;

export function makeFetcher(session: Session, onToken: (token: string) => void): Fetcher {
  let socket = openSocket(session);
  session.subscribe(() => {
    // A socket keeps the token it was opened with, so another token needs another socket.
    void socket.dispose();
    socket = openSocket(session);
  });

  const withToken: typeof fetch = (address, request) => {
    const headers = new Headers(request?.headers);
    const authorization = session.authorization();
    // The headers editor wins: who writes a header there means it.
    if (authorization !== null && !headers.has("authorization")) headers.set("authorization", authorization);
    return fetch(address, { ...request, headers });
  };

  return (given, known) => {
    const [params, options] = asWritten(given, known);
    const send = createGraphiQLFetcher({
      url: session.endpoint,
      fetch: async (address, request) => {
        const response = await withToken(address, request);
        if (params.operationName !== "IntrospectionQuery") void lookForToken(response.clone(), onToken);
        return response;
      },
      wsClient: socket,
    });
    return send(params, options);
  };
}

/**
 * GraphiQL learns which operation its editor holds a tenth of a second after the text has changed. Whoever
 * presses Run before that would send a subscription by POST, under the name of the operation before it.
 */
function asWritten(params: FetcherParams, options: FetcherOpts = {}): [FetcherParams, FetcherOpts] {
  let documentAST: DocumentNode;
  try {
    documentAST = parse(params.query);
  } catch {
    // The server's words for what cannot be parsed are the ones to show.
    return [params, options];
  }
  const operations = documentAST.definitions.filter(
    (definition): definition is OperationDefinitionNode => definition.kind === Kind.OPERATION_DEFINITION,
  );
  const [only, ...others] = operations;
  const { operationName: _, ...unnamed } = params;
  if (only === undefined || others.length > 0) return [params, { ...options, documentAST }];
  const name = only.name?.value;
  return [name === undefined ? unnamed : { ...unnamed, operationName: name }, { ...options, documentAST }];
}

function openSocket(session: Session): Client {
  const url = new URL(session.endpoint, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return createClient({
    url: url.href,
    retryAttempts: SOCKET_RETRIES_MAX,
    connectionParams: () => {
      const authorization = session.authorization();
      return authorization === null ? {} : { authorization };
    },
  });
}

/** login, register and the password mutations show a token once: hand it on so that it can be used. */
async function lookForToken(response: Response, onToken: (token: string) => void): Promise<void> {
  if (!(response.headers.get("content-type") ?? "").includes("json")) return;
  let answer: { data?: Record<string, unknown> | null };
  try {
    answer = (await response.json()) as typeof answer;
  } catch {
    return;
  }
  for (const payload of Object.values(answer?.data ?? {})) {
    const token = (payload as { token?: unknown } | null)?.token;
    if (typeof token === "string" && token !== "") onToken(token);
  }
}
