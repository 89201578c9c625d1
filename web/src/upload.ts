// A file's way into the store: createUpload → PUT to the signed address → completeUpload.
// The bytes go straight from the browser to the store and never through GraphQL.

import { RequestFailed, refusal, type Problem, type Session } from "./session";

// The browser writes these itself and refuses to have them set.
const HEADERS_OF_THE_BROWSER = new Set(["content-length", "host", "connection", "expect", "date", "transfer-encoding"]);

const TYPE_BY_ENDING: Record<string, string> = {
  avi: "video/x-msvideo",
  gif: "image/gif",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  m4v: "video/mp4",
  mkv: "video/x-matroska",
  mov: "video/quicktime",
  mp4: "video/mp4",
  png: "image/png",
  webm: "video/webm",
  webp: "image/webp",
};

const CREATE_UPLOAD = `mutation ExplorerCreateUpload($input: CreateUploadInput!) {
  createUpload(input: $input) { file { id } uploadUrl uploadHeaders userErrors { code message } }
}`;
const COMPLETE_UPLOAD = `mutation ExplorerCompleteUpload($fileId: ID!) {
  completeUpload(fileId: $fileId) { file { id status } userErrors { code message } }
}`;

interface CreateUploadData {
  createUpload: {
    file: { id: string } | null;
    uploadUrl: string | null;
    uploadHeaders: Record<string, unknown> | null;
    userErrors: Problem[];
  };
}

interface CompleteUploadData {
  completeUpload: { file: { id: string; status: string } | null; userErrors: Problem[] };
}

export interface Stored {
  fileId: string;
}

/** Uploads one file and answers its id. `onSent` is told bytes sent so far. Throws RequestFailed; an abort rejects. */
export async function upload(
  session: Session,
  file: File,
  options: { onSent: (bytes: number) => void; signal: AbortSignal },
): Promise<Stored> {
  const input = { name: file.name, mimeType: typeOf(file), sizeBytes: file.size };
  const created = (await session.ask<CreateUploadData>(CREATE_UPLOAD, { input }, options.signal)).createUpload;
  const refused = refusal(created.userErrors);
  if (refused !== null) throw new RequestFailed(refused);
  if (created.file === null || created.uploadUrl === null) throw new RequestFailed("The server gave no upload address.");
  await put(created.uploadUrl, file, { headers: created.uploadHeaders ?? {}, ...options });
  const variables = { fileId: created.file.id };
  const completed = (await session.ask<CompleteUploadData>(COMPLETE_UPLOAD, variables, options.signal)).completeUpload;
  const rejected = refusal(completed.userErrors);
  if (rejected !== null) throw new RequestFailed(rejected);
  return { fileId: created.file.id };
}

interface PutOptions {
  headers: Record<string, unknown>;
  onSent: (bytes: number) => void;
  signal: AbortSignal;
}

// XMLHttpRequest, since fetch cannot tell how much of a body has been sent.
function put(address: string, file: File, { headers, onSent, signal }: PutOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address);
    for (const [name, value] of Object.entries(headers)) {
      if (!HEADERS_OF_THE_BROWSER.has(name.toLowerCase())) request.setRequestHeader(name, String(value));
    }
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(new RequestFailed(`The store refused the file with status ${request.status}.`));
    };
    request.onerror = () => reject(new RequestFailed("The store could not be reached, or does not allow this page (CORS)."));
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

function typeOf(file: File): string {
  if (file.type !== "") return file.type;
  const ending = file.name.toLowerCase().split(".").pop() ?? "";
  return TYPE_BY_ENDING[ending] ?? "application/octet-stream";
}

export function inBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB"];
  let amount = bytes / 1024;
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${amount.toFixed(1)} ${units[unit]}`;
}
