// Offers a token that has just been shown in an answer (login, register) to the token box.

import { useEffect } from "react";
import type { Session } from "./session";

interface Props {
  token: string;
  session: Session;
  onDone: () => void;
}

export function NoticeOfToken({ token, session, onDone }: Props) {
  const known = session.current() === token;
  useEffect(() => {
    if (known) onDone();
  }, [known, onDone]);
  if (known) return null;
  return (
    <div className="atrium-notice" role="status" data-testid="token-offer">
      <span>This answer holds a new access token. It is shown this one time.</span>
      <button
        type="button"
        className="atrium-button atrium-button-main"
        data-testid="token-use"
        onClick={() => {
          session.set(token);
          onDone();
        }}
      >
        Use this token
      </button>
      <button type="button" className="atrium-quiet" onClick={onDone}>
        Not now
      </button>
    </div>
  );
}
