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

let csrfToken = null;
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

async function call(method, url, body, signal) {
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
