// Calls to the server, other than streams.

/** The server said no, or could not be reached (then `status` is 0). */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Read what a failed response says about its reason. */
export async function failureOf(response) {
  let message = "";
  try {
    message = (await response.json()).error;
  } catch {
    // not JSON: then the status has to do
  }
  return new ApiError(message || `The server answered ${response.status}`, response.status);
}

async function call(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", // tags are compared here, so that the page knows whether anything is new
      signal: AbortSignal.timeout(20_000),
    });
  } catch {
    throw new ApiError("The server cannot be reached", 0);
  }
  if (!response.ok && response.status !== 304) {
    throw await failureOf(response);
  }
  return response;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError("The server's answer broke off", 0);
  }
}

const SESSIONS = "/__aibind__/sessions";
const MAX_LISTED = 200;
const PAGE_MESSAGES = 50;
const path = (id) => `${SESSIONS}/${encodeURIComponent(id)}`;

export const api = {
  about: async () => json(await call("GET", "/api/about")),

  /** Return the newest conversations, each with the id of the reply that is under way in it. */
  list: async () => (await json(await call("GET", `${SESSIONS}?limit=${MAX_LISTED}&live=true`))).sessions,

  /** Return an id for a new conversation, which begins to exist with its first message. */
  newId() {
    // Not randomUUID(), which a page has only over HTTPS or on this machine.
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  },

  /**
   * Return the last messages of a conversation, or those above the message `before`. With the `tag` of an earlier
   * answer it is null when nothing has changed since.
   */
  async open(id, { before = null, tag = null } = {}) {
    const query = new URLSearchParams({ limit: PAGE_MESSAGES, ...(before === null ? {} : { before }) });
    const response = await call("GET", `${path(id)}?${query}`, undefined, tag === null ? {} : { "If-None-Match": tag });
    return response.status === 304 ? null : { ...(await json(response)), tag: response.headers.get("ETag") };
  },

  rename: (id, title) => call("PATCH", path(id), { title }),
  select: (id, activeLeafId) => call("PATCH", path(id), { activeLeafId }),
  approvals: (id) => `${path(id)}/approvals`,
  remove: (id) => call("DELETE", path(id)),
  stop: (id) => call("POST", "/__aibind__/stream/stop", { id }),
};
