// aibind's client for pages without a framework: one module, without a build step.
//
//   import { Aibind } from "/__aibind__/aibind.js";
//
//   const aibind = new Aibind();
//   const reply = aibind.ask({ prompt: "Hello", sessionId: "me" });
//   for await (const { event, data } of reply) if (event === "") show(data);
//
// A reply outlives its connection: it is resumed at the exact character by itself.

/** The server said no, could not be reached (`status` is 0), or does not know the stream any more. */
export class AibindError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {number} [waitMs] milliseconds after which the server wants to be asked again
   */
  constructor(message, status, waitMs = 0) {
    super(message);
    this.name = "AibindError";
    this.status = status;
    this.waitMs = waitMs;
  }
}

/**
 * @typedef {{ event: string, data: string, id: string }} Message
 * A server-sent event. `event` is "" for text, else a name such as "reasoning", "tool_call" or "usage"; `id` is "" for
 * a message without one.
 *
 * @typedef {"live" | "done" | "stopped" | "error" | "gone" | "none" | "waiting"} State
 * "gone": the server does not know the stream any more; "none": the session has no reply under way; "waiting": other
 * calls have no answer yet.
 *
 * @typedef {object} Watch What a page may want to know of a reply's connection.
 * @property {() => void} [joined] it is connected, for the first time or again
 * @property {(waitMs: number) => void} [cut] the connection is lost, and will be tried again in so many milliseconds
 *
 * @typedef {(signal: AbortSignal) => Promise<Response>} First asks for a reply
 * @typedef {(id: string, after: string, signal: AbortSignal) => Promise<Response>} Resume asks for what follows a message
 *
 * @typedef {object} Session
 * @property {string} id
 * @property {string | null} title
 * @property {number} updatedAt milliseconds since the epoch
 * @property {string | null} [liveStream] the id of the reply under way, where `live` was asked for
 */

const SILENCE_MS = 40_000; // the server sends a heartbeat after 15 s
const CALL_MS = 20_000;
const MIN_WAIT_MS = 400;
const MAX_WAIT_MS = 5_000;
const MAX_ASKED_WAIT_MS = 60_000;
const MAX_ASKS = 3;
const PASSING = new Set([0, 429, 502, 503, 504]);
const ALL_EVENTS = { Accept: "text/event-stream" }; // without it, those that older clients know

/** Return a random id, for a new session or a request. */
export function newId() {
  // Not randomUUID(), which a page has only over HTTPS or on this machine.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The endpoints of a server. */
export class Aibind {
  #url;
  #headers;
  #fetch;

  /**
   * @param {object} [options]
   * @param {string} [options.url] where the endpoints are, "/__aibind__" by default
   * @param {Record<string, string> | (() => Record<string, string>)} [options.headers] sent with each request
   * @param {typeof fetch} [options.fetch]
   */
  constructor({ url = "/__aibind__", headers = {}, fetch: send = (...request) => fetch(...request) } = {}) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = headers;
    this.#fetch = send;
  }

  /**
   * Ask for a reply. It is asked once, even when the answer to the request is lost and it has to be sent again.
   *
   * @param {{ prompt?: string, sessionId?: string, [field: string]: unknown }} body
   * @param {{ endpoint?: "stream" | "chat" | "structured", key?: string } & Watch} [options] `key` names the request:
   *   with the key of an earlier request, its reply is followed from the beginning
   * @returns {Reply}
   */
  ask(body, { endpoint = "stream", key = newId(), ...watch } = {}) {
    const request = {
      method: "POST",
      headers: { ...ALL_EVENTS, "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(body),
    };
    return this.#reply(() => this.#send(`/${endpoint}`, request), watch);
  }

  /**
   * Follow a stream, from its beginning or after the message with an id.
   *
   * @param {string} streamId
   * @param {{ after?: string } & Watch} [options]
   */
  follow(streamId, { after = "0", ...watch } = {}) {
    return this.#reply(null, watch, streamId, after);
  }

  /**
   * Follow the reply that is under way in a session, from its beginning. Its state is "none" when there is none.
   *
   * @param {string} sessionId
   * @param {Watch} [watch]
   */
  attach(sessionId, watch = {}) {
    /** @type {First} */
    const first = (signal) => this.#send(`${path(sessionId)}/stream`, { headers: ALL_EVENTS, signal });
    return this.#reply(first, watch);
  }

  /**
   * Answer calls that wait for the user, by their ids: true, false, or { approved, args, reason, retry }. The reply is
   * that which goes on from the answers; its state is "waiting" while other calls have none.
   *
   * @param {string} sessionId
   * @param {Record<string, boolean | object>} approvals
   * @param {Watch} [watch]
   */
  approve(sessionId, approvals, watch = {}) {
    const request = {
      method: "POST",
      headers: { ...ALL_EVENTS, "Content-Type": "application/json" },
      body: JSON.stringify({ approvals }),
    };
    return this.#reply(() => this.#send(`${path(sessionId)}/approvals`, request), watch);
  }

  /**
   * Return the calls of a session that wait for the user.
   *
   * @param {string} sessionId
   */
  async approvals(sessionId) {
    return (await json(await this.#call("GET", `${path(sessionId)}/approvals`))).approvals;
  }

  /**
   * Stop a reply, wherever it is produced. What has been said so far is kept.
   *
   * @param {string} streamId
   */
  async stop(streamId) {
    await this.#call("POST", "/stream/stop", { id: streamId });
  }

  /**
   * List the newest sessions.
   *
   * @param {{ limit?: number, live?: boolean, before?: string }} [options] `before` is that of the page before
   * @returns {Promise<{ sessions: Session[], before: string | null }>}
   */
  async sessions(options = {}) {
    return json(await this.#call("GET", `/sessions?${query(options)}`));
  }

  /**
   * Return the last messages of a session, or those above the message `before`, with the `tag` of its revision. With the
   * `tag` of an earlier answer it is null when nothing has changed since.
   *
   * @param {string} sessionId
   * @param {{ limit?: number, before?: string | null, tag?: string | null }} [options]
   */
  async session(sessionId, { tag = null, ...options } = {}) {
    const response = await this.#call(
      "GET",
      `${path(sessionId)}?${query(options)}`,
      undefined,
      tag === null ? {} : { "If-None-Match": tag },
    );
    return response.status === 304 ? null : { ...(await json(response)), tag: response.headers.get("ETag") };
  }

  /**
   * Change the title of a session.
   *
   * @param {string} sessionId
   * @param {string} title
   */
  async rename(sessionId, title) {
    await this.#call("PATCH", path(sessionId), { title });
  }

  /**
   * Make the branch that ends with a message the one that is shown and continued.
   *
   * @param {string} sessionId
   * @param {string} activeLeafId
   */
  async select(sessionId, activeLeafId) {
    await this.#call("PATCH", path(sessionId), { activeLeafId });
  }

  /**
   * Delete a session.
   *
   * @param {string} sessionId
   */
  async remove(sessionId) {
    await this.#call("DELETE", path(sessionId));
  }

  /**
   * @param {First | null} first
   * @param {Watch} watch
   * @param {string | null} [streamId]
   * @param {string} [after]
   */
  #reply(first, watch, streamId = null, after = "0") {
    /** @type {Resume} */
    const resume = (id, last, signal) =>
      this.#send(`/stream/resume?${query({ id, after: last })}`, { headers: ALL_EVENTS, signal });
    return new Reply(first, resume, (id) => this.stop(id), watch, streamId, after);
  }

  /**
   * @param {string} method
   * @param {string} where
   * @param {object} [body]
   * @param {Record<string, string>} [headers]
   */
  async #call(method, where, body, headers = {}) {
    return this.#send(where, {
      method,
      headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", // tags are compared here, so that the page knows whether anything is new
      signal: AbortSignal.timeout(CALL_MS),
    });
  }

  /**
   * @param {string} where
   * @param {RequestInit & { headers: Record<string, string> }} request
   */
  async #send(where, request) {
    const headers = typeof this.#headers === "function" ? this.#headers() : this.#headers;
    let response;
    try {
      response = await this.#fetch(this.#url + where, { ...request, headers: { ...headers, ...request.headers } });
    } catch {
      throw new AibindError("The server cannot be reached", 0);
    }
    if (!response.ok && response.status !== 304) {
      throw await refusalOf(response);
    }
    return response;
  }
}

/**
 * One reply, which may take many connections. Iterate over it for its messages, each once and in order; or give
 * `listen` a function. `text` and `state` say how far it has come.
 */
export class Reply {
  #first;
  #resume;
  #stop;
  #watch;
  #abort = new AbortController();
  #lastId;
  #failures = 0;
  /** @type {State} */
  #end = "done";
  /** @type {Promise<Response | null> | null} */
  #begun = null;
  #closed = false;

  /**
   * @param {First | null} first
   * @param {Resume} resume
   * @param {(id: string) => Promise<void>} stop
   * @param {Watch} watch
   * @param {string | null} streamId
   * @param {string} after
   */
  constructor(first, resume, stop, watch, streamId, after) {
    this.#first = first;
    this.#resume = resume;
    this.#stop = stop;
    this.#watch = watch;
    this.#lastId = after;
    /** The stream's id, once the server has said it. @type {string | null} */
    this.id = streamId;
    /** The text that has arrived. */
    this.text = "";
    /** @type {State} */
    this.state = "live";
    /** What is said of a reply that failed, or that is gone. */
    this.error = "";
  }

  /**
   * Begin. Resolves when the server has agreed, and throws AibindError when it has not. Iterating calls it.
   *
   * @returns {Promise<Reply>}
   */
  async ready() {
    this.#begun ??= this.#begin();
    await this.#begun;
    return this;
  }

  /**
   * Give each message to a function, and resolve when the reply has ended or is closed. Throws AibindError when the
   * server refuses it.
   *
   * @param {(message: Message) => void} onMessage
   * @returns {Promise<State>}
   */
  async listen(onMessage) {
    await this.ready();
    let response = await this.#begun;
    while (this.state === "live" && !this.#closed) {
      if (!response && this.id === null) {
        this.#finish("error", "The connection is lost, and this server keeps no replies");
        break;
      }
      try {
        response ??= await this.#resume(this.id ?? "", this.#lastId, this.#abort.signal);
        this.#watch.joined?.();
        await readMessages(response, (message) => this.#take(message, onMessage), SILENCE_MS, this.#abort.signal);
      } catch (error) {
        if (error instanceof AibindError && error.status >= 400 && error.status < 500 && error.status !== 429) {
          this.#finish("gone", error.message);
        }
      }
      response = null;
      if (this.state === "live" && !this.#closed) {
        const wait = Math.min(MAX_WAIT_MS, MIN_WAIT_MS * 2 ** this.#failures) * (0.75 + Math.random() / 2);
        this.#failures += 1;
        this.#watch.cut?.(wait);
        await untilRetry(wait, this.#abort.signal);
      }
    }
    return this.state;
  }

  /** Leave the reply to itself: it goes on without this page. */
  close() {
    this.#closed = true;
    this.#abort.abort();
  }

  /** Stop the reply for everybody; what has been said so far is kept. */
  async stop() {
    await this.ready();
    if (this.id !== null) {
      await this.#stop(this.id);
    }
  }

  /** @returns {AsyncGenerator<Message, void>} */
  async *[Symbol.asyncIterator]() {
    /** @type {Message[]} */
    const waiting = [];
    let wake = () => {};
    let ended = false;
    /** @type {unknown} */
    let failure = null;
    this.listen((message) => {
      waiting.push(message);
      wake();
    })
      .catch((error) => (failure = error))
      .finally(() => {
        ended = true;
        wake();
      });
    try {
      for (;;) {
        for (let message = waiting.shift(); message; message = waiting.shift()) yield message;
        if (failure) throw failure;
        if (ended) return;
        await /** @type {Promise<void>} */ (new Promise((resolve) => (wake = resolve)));
      }
    } finally {
      this.close();
    }
  }

  async #begin() {
    if (this.#first === null) return null; // a stream that is known: it is resumed
    let response = null;
    for (let asked = 1; !response; asked += 1) {
      try {
        // The question is sent even when the page has turned to something else meanwhile.
        response = await this.#first(this.#abort.signal);
      } catch (error) {
        if (asked === MAX_ASKS || !(error instanceof AibindError) || !PASSING.has(error.status)) throw error;
        if (error.waitMs > MAX_ASKED_WAIT_MS) throw error;
        await untilRetry(Math.max(MIN_WAIT_MS * asked, error.waitMs));
      }
    }
    if (response.status === 204 || response.status === 202) {
      this.#finish(response.status === 204 ? "none" : "waiting", "");
      response.body?.cancel().catch(() => {});
      return null;
    }
    this.id ??= response.headers.get("X-Stream-Id");
    if (this.#closed) response.body?.cancel().catch(() => {});
    return response;
  }

  /**
   * @param {Message} message
   * @param {(message: Message) => void} onMessage
   */
  #take(message, onMessage) {
    const { event, data, id } = message;
    if (this.state !== "live" || this.#closed) return;
    this.#failures = 0;
    if (event === "stream-id") {
      this.id = data;
    } else if (event === "error" || event === "stopped") {
      this.#end = event;
      this.error = data;
    } else if (event === "done") {
      this.#finish(this.#end, this.error);
    } else {
      if (id) this.#lastId = id;
      if (event === "") this.text += data;
      try {
        onMessage(message);
      } catch (error) {
        reportError(error); // a fault of the page is no reason to connect again
      }
    }
  }

  /**
   * @param {State} state
   * @param {string} error
   */
  #finish(state, error) {
    this.state = state;
    this.error = error;
  }
}

/** @param {string} sessionId */
const path = (sessionId) => `/sessions/${encodeURIComponent(sessionId)}`;

/** @param {object} fields */
function query(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
}

/** @param {Response} response */
async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new AibindError("The server's answer broke off", 0);
  }
}

/** @param {Response} response */
async function refusalOf(response) {
  let message = "";
  try {
    message = (await response.json()).error;
  } catch {
    // not JSON: then the status has to do
  }
  const seconds = Number(response.headers.get("Retry-After"));
  const waitMs = seconds > 0 ? seconds * 1000 : 0;
  return new AibindError(message || `The server answered ${response.status}`, response.status, waitMs);
}

/**
 * Wait, but no longer once the network is back or the page is in sight again.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function untilRetry(ms, signal) {
  return new Promise((resolve) => {
    const page = globalThis.document;
    const finish = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", finish);
      page?.removeEventListener("visibilitychange", seen);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const seen = () => page?.visibilityState === "visible" && finish();
    const timer = setTimeout(finish, ms);
    globalThis.addEventListener?.("online", finish);
    page?.addEventListener("visibilitychange", seen);
    signal?.addEventListener("abort", finish);
    if (signal?.aborted) finish();
  });
}

/** Parses an event stream (HTML standard, section 9.2.6) that arrives in pieces, cut anywhere. */
export class SseParser {
  #onMessage;
  #line = "";
  #afterReturn = false;
  #started = false;
  #event = "";
  /** @type {string | null} */
  #data = null;
  #id = "";

  /**
   * `onMessage` is called with { event, data, id }; `id` is the one that the message itself carried, or "".
   *
   * @param {(message: Message) => void} onMessage
   */
  constructor(onMessage) {
    this.#onMessage = onMessage;
  }

  /**
   * Take some more text.
   *
   * @param {string} text
   */
  push(text) {
    if (!this.#started && text) {
      this.#started = true;
      text = text.replace(/^\uFEFF/, "");
    }
    if (this.#afterReturn && text) {
      this.#afterReturn = false;
      text = text.replace(/^\n/, ""); // the other half of a CR LF
    }
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#line + text).split(/\r\n|\r|\n/);
    this.#line = lines.pop() ?? "";
    lines.forEach((line) => this.#take(line));
  }

  /** @param {string} line */
  #take(line) {
    if (line === "") {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") {
      this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    } else if (field === "event") {
      this.#event = value;
    } else if (field === "id" && !value.includes("\0")) {
      this.#id = value;
    }
  }

  #dispatch() {
    const [event, data, id] = [this.#event, this.#data, this.#id];
    this.#event = "";
    this.#data = null;
    this.#id = "";
    if (data !== null) {
      this.#onMessage({ event, data, id });
    }
  }
}

/**
 * Read a response's body to its end and give each message to `onMessage`. Throws when the connection is cut, or when
 * nothing at all, not even a heartbeat, has come for `silenceMs`. Ends early when `signal` says so.
 *
 * @param {Response} response
 * @param {(message: Message) => void} onMessage
 * @param {number} silenceMs
 * @param {AbortSignal} signal
 */
export async function readMessages(response, onMessage, silenceMs, signal) {
  if (!response.body) return;
  const parser = new SseParser(onMessage);
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  const leave = () => reader.cancel().catch(() => {});
  signal.addEventListener("abort", leave);
  let timer;
  try {
    for (;;) {
      const silence = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("The server sends nothing any more")), silenceMs);
      });
      const { done, value } = await Promise.race([reader.read(), silence]);
      clearTimeout(timer);
      if (done) {
        return;
      }
      parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
    leave();
  }
}
