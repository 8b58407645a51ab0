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

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(20_000),
    });
  } catch {
    throw new ApiError("The server cannot be reached", 0);
  }
  if (!response.ok) {
    throw await failureOf(response);
  }
  try {
    return await response.json();
  } catch {
    throw new ApiError("The server's answer broke off", 0);
  }
}

const path = (id) => `/api/conversations/${encodeURIComponent(id)}`;

export const api = {
  about: () => call("GET", "/api/about"),
  list: () => call("GET", "/api/conversations"),
  create: () => call("POST", "/api/conversations", {}),
  open: (id, limit) => call("GET", path(id) + (limit ? `?limit=${limit}` : "")),
  rename: (id, title) => call("PATCH", path(id), { title }),
  remove: (id) => call("DELETE", path(id)),
  select: (id, message, step) => call("POST", `${path(id)}/select`, { message, step }),
  stop: (id) => call("POST", "/__aibind__/stream/stop", { id }),
};
