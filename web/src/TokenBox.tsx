// The token box: what is typed or pasted is kept for this host and sent with everything.
// Beside it stands whom the server takes the token for, so that a wrong one is seen at once.

import { useEffect, useState, useSyncExternalStore } from "react";
import type { Config } from "./config";
import type { Session } from "./session";
import { inWords, signInAs } from "./signIn";

const CHECK_DELAY_MS = 300;
const VIEWER = "query ExplorerViewer { viewer { name email } }";

interface ViewerData {
  viewer: { name: string; email: string } | null;
}

interface Status {
  kind: "none" | "checking" | "accepted" | "refused";
  words: string;
}

const SIGNED_OUT: Status = { kind: "none", words: "Not signed in" };

interface Props {
  config: Config;
  session: Session;
}

export function TokenBox({ config, session }: Props) {
  const token = useSyncExternalStore(session.subscribe, session.current);
  const [status, setStatus] = useStatus(session, token);
  const own = config.demoTenants.find((tenant) => tenant.slug === config.tenantSlug && tenant.password !== null);

  return (
    <form className="atrium-token" autoComplete="off" onSubmit={(event) => event.preventDefault()}>
      <label htmlFor="atrium-token">Token</label>
      <input
        id="atrium-token"
        data-testid="token"
        type="password"
        autoComplete="off"
        spellCheck={false}
        placeholder="Access token"
        value={token}
        onChange={(event) => session.set(event.target.value)}
      />
      <span className={`atrium-status atrium-status-${status.kind}`} data-testid="token-status" role="status" title={status.words}>
        {status.words}
      </span>
      {token !== "" && (
        <button type="button" className="atrium-quiet" data-testid="token-forget" onClick={() => session.set("")}>
          Forget
        </button>
      )}
      {token === "" && own !== undefined && (
        <button
          type="button"
          className="atrium-button atrium-button-main"
          data-testid="sign-in-here"
          onClick={() => signInAs(session, own).catch((error) => setStatus({ kind: "refused", words: inWords(error) }))}
        >
          Sign in as {own.slug}
        </button>
      )}
    </form>
  );
}

function useStatus(session: Session, token: string): [Status, (status: Status) => void] {
  const [status, setStatus] = useState<Status>(SIGNED_OUT);
  useEffect(() => {
    if (token === "") {
      setStatus(SIGNED_OUT);
      return;
    }
    setStatus({ kind: "checking", words: "Checking…" });
    const stop = new AbortController();
    // Somebody may be typing: the server is asked once they have finished.
    const timer = setTimeout(() => {
      session
        .ask<ViewerData>(VIEWER, {}, stop.signal)
        .then(({ viewer }) =>
          setStatus(
            viewer === null
              ? { kind: "refused", words: "Not accepted on this host" }
              : { kind: "accepted", words: viewer.email },
          ),
        )
        .catch((error: unknown) => {
          if (!stop.signal.aborted) setStatus({ kind: "refused", words: inWords(error) });
        });
    }, CHECK_DELAY_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [session, token]);
  return [status, setStatus];
}
