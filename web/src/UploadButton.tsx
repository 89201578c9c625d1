// Upload file: a dialog around upload.ts with progress, the file's id, and what to do with it next.

import { useRef, useState } from "react";
import type { Config } from "./config";
import { useOpenStarter } from "./openStarter";
import type { Session } from "./session";
import { inWords } from "./signIn";
import { videoFrom, type StarterGroup } from "./starters";
import { inBytes, upload } from "./upload";

type State =
  | { kind: "choosing" }
  | { kind: "sending"; sent: number; size: number }
  | { kind: "done"; fileId: string; name: string }
  | { kind: "failed"; words: string };

interface Props {
  config: Config;
  session: Session;
  groups: StarterGroup[];
}

export function UploadButton({ config, session, groups }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const running = useRef<AbortController | null>(null);
  const [state, setState] = useState<State>({ kind: "choosing" });

  async function send(file: File) {
    const stop = new AbortController();
    running.current = stop;
    setState({ kind: "sending", sent: 0, size: file.size });
    try {
      const onSent = (sent: number) => setState({ kind: "sending", sent, size: file.size });
      const { fileId } = await upload(session, file, { onSent, signal: stop.signal });
      setState({ kind: "done", fileId, name: file.name });
    } catch (error) {
      setState(stop.signal.aborted ? { kind: "choosing" } : { kind: "failed", words: inWords(error) });
    } finally {
      running.current = null;
    }
  }

  function open() {
    if (running.current === null) setState({ kind: "choosing" });
    dialog.current?.showModal();
  }

  return (
    <>
      <button type="button" className="atrium-button" data-testid="upload-open" onClick={open}>
        Upload file
      </button>
      <dialog ref={dialog} className="atrium-dialog" data-testid="upload-dialog" aria-labelledby="atrium-upload-title">
        <header>
          <h2 id="atrium-upload-title">Upload a file</h2>
          <button type="button" className="atrium-quiet" data-testid="upload-close" onClick={() => dialog.current?.close()}>
            Close
          </button>
        </header>
        {config.host === "central" ? (
          <p data-testid="upload-status">Files belong to a tenant. Open a tenant’s host and upload there.</p>
        ) : (
          <Body
            state={state}
            onFile={(file) => void send(file)}
            onStop={() => running.current?.abort()}
            onAgain={() => setState({ kind: "choosing" })}
            onUsed={() => dialog.current?.close()}
            groups={groups}
          />
        )}
      </dialog>
    </>
  );
}

interface BodyProps {
  state: State;
  onFile: (file: File) => void;
  onStop: () => void;
  onAgain: () => void;
  onUsed: () => void;
  groups: StarterGroup[];
}

function Body({ state, onFile, onStop, onAgain, onUsed, groups }: BodyProps) {
  if (state.kind === "sending") return <Sending sent={state.sent} size={state.size} onStop={onStop} />;
  if (state.kind === "done") {
    return <Done fileId={state.fileId} name={state.name} onAgain={onAgain} onUsed={onUsed} groups={groups} />;
  }
  return (
    <>
      <p>The file goes straight into this tenant’s store by a signed address. You need to be signed in.</p>
      {state.kind === "failed" && (
        <p className="atrium-problem" role="alert" data-testid="upload-status">
          {state.words}
        </p>
      )}
      <input
        type="file"
        className="atrium-file"
        data-testid="upload-file"
        aria-label="File to upload"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file !== undefined) onFile(file);
        }}
      />
    </>
  );
}

function Sending({ sent, size, onStop }: { sent: number; size: number; onStop: () => void }) {
  return (
    <>
      <progress data-testid="upload-progress" value={sent} max={Math.max(size, 1)} />
      <p data-testid="upload-status" role="status">
        {sent < size ? `${inBytes(sent)} of ${inBytes(size)}` : "Checking the file…"}
      </p>
      <button type="button" className="atrium-button" data-testid="upload-stop" onClick={onStop}>
        Stop
      </button>
    </>
  );
}

interface DoneProps {
  fileId: string;
  name: string;
  onAgain: () => void;
  onUsed: () => void;
  groups: StarterGroup[];
}

function Done({ fileId, name, onAgain, onUsed, groups }: DoneProps) {
  const [copied, setCopied] = useState(false);
  const openStarter = useOpenStarter(groups);

  function copy() {
    // Without permission the id still stands there to be selected.
    navigator.clipboard?.writeText(fileId).then(() => setCopied(true), () => setCopied(false));
  }

  return (
    <>
      <p data-testid="upload-status" role="status">
        <b>{name}</b> is stored. Its id:
      </p>
      <p className="atrium-id">
        <code data-testid="upload-file-id">{fileId}</code>
        <button type="button" className="atrium-button" data-testid="upload-copy" onClick={copy}>
          {copied ? "Copied" : "Copy"}
        </button>
      </p>
      <p className="atrium-row">
        <button
          type="button"
          className="atrium-button atrium-button-main"
          data-testid="upload-use"
          onClick={() => {
            openStarter(videoFrom(fileId, name));
            onUsed();
          }}
        >
          Make a video from it
        </button>
        <button type="button" className="atrium-quiet" onClick={onAgain}>
          Upload another
        </button>
      </p>
    </>
  );
}
