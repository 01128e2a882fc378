// Calls to the API. The browser sends the session's cookie; changes carry the CSRF token too.

/** An error that the server, or the way to it, answered with. `field` is the part at fault; `details` are all of them. */
export class ApiError extends Error {
  constructor(status, { type, message, field = null, details = null, requestId = null }) {
    super(message);
    this.status = status;
    this.type = type;
    this.field = field;
    this.details = details ?? (field === null ? [] : [{ field, message }]);
    this.requestId = requestId;
  }

  get offline() {
    return this.status === 0;
  }
}

const READS_MS = 1000; // a read that takes longer was let in long ago

let csrfToken = null;
let leaving = null; // while somebody signs out: resolves to whether they did
const reads = new Set();
const listeners = new Set();

/** Remember the session's CSRF token; null: nobody is signed in. */
export function setCsrfToken(token) {
  csrfToken = token;
  if (token !== null) tell("signed-in");
}

/** Return whether the server can be reached; who listens is told. */
export async function checkConnection() {
  try {
    await call("GET", "/healthz");
    return true;
  } catch (error) {
    return !error.offline;
  }
}

/** Call `listener` with "online", "offline", "signed-in" or "signed-out" at each call. Returns its end. */
export function onConnection(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(state) {
  for (const listener of listeners) listener(state);
}

/** Return the address of a call; parameters that are null, undefined or "" are left out. */
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Read JSON. Throws `ApiError`, and `AbortError` if `signal` ends it. */
export function get(path, params = {}, { signal } = {}) {
  return call("GET", address(path, params), undefined, signal);
}

/** Change something; `body` is sent as JSON. Returns the answer's JSON. Throws `ApiError`. */
export function send(method, path, body, { signal } = {}) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return call(method, path, text, signal);
}

/** Send a file or text as it is. Returns the answer's JSON. Throws `ApiError`. */
export function upload(path, content, params = {}) {
  return call("POST", address(path, params), content);
}

/**
 * End the session. Returns the answer's JSON; throws `ApiError`. A read that reached the server
 * after the end would be refused as if the session had run out: those under way are answered
 * first, and none begins until it is known whether the session ended.
 */
export async function signOut() {
  const read = Promise.allSettled([...reads]);
  const waited = Promise.race([read, new Promise((resolve) => setTimeout(resolve, READS_MS))]);
  const ended = waited.then(() => fetchJson("DELETE", "/admin/session"));
  leaving = ended.then(() => true, () => false);
  try {
    return await ended;
  } finally {
    leaving = null;
  }
}

/** Return whether the session was ended by a sign-out under way; waits for it to end. */
export async function signedOut() {
  return leaving !== null && (await leaving);
}

async function call(method, url, body, signal) {
  if (method !== "GET") return fetchJson(method, url, body, signal);
  if (leaving !== null && (await signedOut())) throw new DOMException("Signed out.", "AbortError");
  const read = fetchJson(method, url, body, signal);
  reads.add(read);
  return read.finally(() => reads.delete(read));
}

async function fetchJson(method, url, body, signal) {
  const headers = { accept: "application/json" };
  if (method !== "GET" && csrfToken) headers["x-csrf-token"] = csrfToken;
  if (typeof body === "string") headers["content-type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(url, { method, headers, body, signal, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell("offline");
    throw new ApiError(0, { type: "offline", message: "The server cannot be reached." });
  }
  tell("online");
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    // a proxy's page; the status says enough
  }
  if (response.ok) return answer;
  if (response.status === 401 && !url.startsWith("/admin/session")) tell("signed-out");
  const said = answer?.error ?? {};
  throw new ApiError(response.status, {
    type: said.type ?? "error",
    message: said.message ?? `The server answered ${response.status}.`,
    field: said.field ?? null,
    details: said.details ?? null,
    requestId: answer?.request_id ?? response.headers.get("request-id"),
  });
}
