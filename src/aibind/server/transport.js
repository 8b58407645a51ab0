// A transport for useChat of Vercel's AI SDK (and assistant-ui): one module, without a build step.
//
//   import { AibindChatTransport } from "/api/chat/transport.js";
//
//   useChat({ id, resume: true, transport: new AibindChatTransport({ api: "/api/chat" }) });
//
// A reply outlives its connection: it goes on at the exact character, in the same stream of chunks, so that the chat
// sees no error and nothing twice.

/**
 * @import { ChatTransport, UIMessage, UIMessageChunk } from "ai"
 *
 * @typedef {Record<string, string> | Headers} GivenHeaders
 *
 * @typedef {object} Position How far into a reply a page has come.
 * @property {string} streamId the reply's stream
 * @property {string} after the id of the last message that the page has
 *
 * @typedef {object} Options
 * @property {string} [api] where the endpoints are, "/api/chat" by default
 * @property {GivenHeaders | (() => GivenHeaders | Promise<GivenHeaders>)} [headers] sent with each request: a function
 *   is called for each, so that it can renew a token
 * @property {object | (() => object | Promise<object>)} [body] fields that are sent with each message
 * @property {RequestCredentials} [credentials]
 * @property {typeof fetch} [fetch]
 * @property {() => void} [joined] called when a reply is connected, for the first time or again
 * @property {(waitMs: number) => void} [cut] called when its connection is lost, and will be tried again in so many
 *   milliseconds
 */

const SILENCE_MS = 40_000; // the server sends a heartbeat after 15 s
const MIN_WAIT_MS = 400;
const MAX_WAIT_MS = 5_000;
const MAX_ASKED_WAIT_MS = 60_000;
const MAX_ASKS = 3;
const PASSING = new Set([429, 500, 502, 503, 504]);

/** The server said no. */
export class ChatTransportError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   * @param {number} [waitMs] milliseconds after which the server wants to be asked again
   */
  constructor(message, status, waitMs = 0) {
    super(message);
    this.name = "ChatTransportError";
    this.status = status;
    this.waitMs = waitMs;
  }
}

class SilenceError extends Error {}

/**
 * The AI SDK's ChatTransport over the endpoints of aibind's `create_chat_app`.
 *
 * @template {UIMessage} [MESSAGE=UIMessage]
 * @implements {ChatTransport<MESSAGE>}
 */
export class AibindChatTransport {
  /** Whether a chat that reconnects is given its reply from the beginning. */
  resumeStreamIsReplay = true;

  #api;
  #headers;
  #body;
  #credentials;
  #fetch;
  #joined;
  #cut;
  /** @type {Map<string, Position>} */
  #positions = new Map();
  /** @type {Map<string, Promise<void>>} When the newest request of each chat is answered. */
  #asked = new Map();

  /** @param {Options} [options] */
  constructor({
    api = "/api/chat",
    headers = {},
    body = {},
    credentials,
    fetch: send = (...request) => fetch(...request),
    joined = () => {},
    cut = () => {},
  } = {}) {
    this.#api = api.replace(/\/+$/, "");
    this.#headers = headers;
    this.#body = body;
    this.#credentials = credentials;
    this.#fetch = send;
    this.#joined = joined;
    this.#cut = cut;
  }

  /**
   * Send the last message, or ask for another answer. It is answered once, even when the answer to the request is lost
   * and it has to be sent again. `abortSignal` leaves the reply, which goes on: the AI SDK aborts when a component is
   * unmounted, too. To stop it, call `stop`.
   *
   * @param {Parameters<ChatTransport<MESSAGE>["sendMessages"]>[0]} options
   * @returns {Promise<ReadableStream<UIMessageChunk>>}
   */
  async sendMessages({ trigger, chatId, messageId, messages, abortSignal, headers, body }) {
    abortSignal?.throwIfAborted();
    const given = typeof this.#body === "function" ? await this.#body() : this.#body;
    const isKnown = trigger === "submit-message" && messageId === undefined; // a new message, by its own id
    const request = {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(isKnown ? {} : { "Idempotency-Key": newKey() }) },
      body: JSON.stringify({ ...given, ...body, id: chatId, messages: messages.slice(-1), trigger, messageId }),
    };
    const leave = leaveWith(abortSignal);
    const ask = () => this.#send("", request, headers); // without a signal: what is sent is sent
    const asking = insist(ask, leave.signal);
    const discard = () => asking.then(({ body }) => (body?.locked ? undefined : body?.cancel()));
    leave.signal.addEventListener("abort", () => discard().catch(() => {}));
    this.#asked.set(chatId, asking.then(() => {}, () => {}));
    const response = await orLeave(unlessAborted(asking, leave.signal), leave);
    return this.#read(response, null, ask, chatId, headers, leave);
  }

  /**
   * Give the reply under way, or the last one: from its beginning, or what follows `metadata.position`, which
   * `position` has returned. Null when there is none.
   *
   * @param {Parameters<ChatTransport<MESSAGE>["reconnectToStream"]>[0]} options
   * @returns {Promise<ReadableStream<UIMessageChunk> | null>}
   */
  async reconnectToStream({ chatId, abortSignal, metadata, headers }) {
    const from = /** @type {{ position?: Position } | undefined} */ (metadata)?.position ?? null;
    const leave = leaveWith(abortSignal);
    const { signal } = leave;
    const ask = () =>
      from ? this.#resume(from, headers, signal) : this.#send(`${path(chatId)}/stream`, { signal }, headers);
    const response = await orLeave(insist(ask, signal), leave);
    return response.status === 204 ? null : this.#read(response, from, ask, chatId, headers, leave);
  }

  /**
   * Stop the replies of a chat that are under way, for everybody; what has been said so far is kept. The chat is told so
   * by its stream.
   *
   * @param {string} chatId
   * @param {GivenHeaders} [headers]
   */
  async stop(chatId, headers) {
    await this.#asked.get(chatId); // a reply is there to be stopped once its request is answered
    const request = { method: "POST", keepalive: true };
    await insist(() => this.#send(`${path(chatId)}/stop`, request, headers), new AbortController().signal);
  }

  /**
   * Return how far the last reply of a chat has come here; null before the first.
   *
   * @param {string} chatId
   * @returns {Position | null}
   */
  position(chatId) {
    const position = this.#positions.get(chatId);
    return position ? { ...position } : null;
  }

  /**
   * @param {Response} response
   * @param {Position | null} from
   * @param {() => Promise<Response>} ask asks once more for a response that names no stream
   * @param {string} chatId
   * @param {GivenHeaders | undefined} headers
   * @param {AbortController} leave
   * @returns {ReadableStream<UIMessageChunk>}
   */
  #read(response, from, ask, chatId, headers, leave) {
    const streamId = streamOf(response);
    const position = streamId === null ? null : { streamId, after: from?.after ?? "" };
    if (position) this.#positions.set(chatId, position);
    const resume = () => (position?.after ? this.#resume(position, headers, leave.signal) : ask());
    const chunks = this.#chunks(response, position, resume, leave);
    return new ReadableStream({
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else value.forEach((chunk) => controller.enqueue(chunk));
      },
      cancel: () => leave.abort(),
    });
  }

  /**
   * @param {Response | null} response
   * @param {Position | null} position
   * @param {() => Promise<Response>} resume
   * @param {AbortController} leave
   * @returns {AsyncGenerator<UIMessageChunk[], void>}
   */
  async *#chunks(response, position, resume, leave) {
    const { signal } = leave;
    let failures = 0;
    try {
      for (;;) {
        let waitMs = 0;
        try {
          response ??= await resume();
          if (position?.after === "") position.streamId = streamOf(response) ?? position.streamId;
          this.#joined();
          if (response.status === 204) return; // it has ended, and all of it is here
          for await (const { chunks, id, isLast } of groupsOf(response, position, signal)) {
            failures = 0;
            if (position) position.after = id;
            yield chunks;
            if (isLast) return;
          }
        } catch (error) {
          if (!isPassing(error)) throw error;
          waitMs = waitOf(error);
        }
        signal.throwIfAborted();
        response = null;
        const wait = Math.min(MAX_WAIT_MS, MIN_WAIT_MS * 2 ** failures) * (0.75 + Math.random() / 2);
        failures += 1;
        this.#cut(Math.max(wait, waitMs));
        await untilRetry(Math.max(wait, waitMs), signal);
        signal.throwIfAborted();
      }
    } finally {
      leave.abort();
    }
  }

  /**
   * @param {Position} position
   * @param {GivenHeaders | undefined} headers
   * @param {AbortSignal} signal
   */
  #resume({ streamId, after }, headers, signal) {
    return this.#send(`/resume${path(streamId)}?after=${encodeURIComponent(after)}`, { signal }, headers);
  }

  /**
   * @param {string} where
   * @param {RequestInit} request
   * @param {GivenHeaders | undefined} given
   */
  async #send(where, request, given) {
    const headers = new Headers(typeof this.#headers === "function" ? await this.#headers() : this.#headers);
    new Headers(given).forEach((value, name) => headers.set(name, value));
    new Headers(request.headers).forEach((value, name) => headers.set(name, value));
    const response = await this.#fetch(this.#api + where, { ...request, headers, credentials: this.#credentials });
    if (!response.ok) throw await refusalOf(response);
    return response;
  }
}

/** @param {string} id */
const path = (id) => `/${encodeURIComponent(id)}`;

/** @param {Response} response */
const streamOf = (response) => response.headers.get("X-Resumable-Stream-Id");

function newKey() {
  // Not randomUUID(), which a page has only over HTTPS or on this machine.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Response} response */
async function refusalOf(response) {
  const text = await response.text();
  let message = text;
  try {
    message = JSON.parse(text).error;
  } catch {
    // not JSON: it is the message itself
  }
  const seconds = Number(response.headers.get("Retry-After"));
  const waitMs = seconds > 0 ? seconds * 1000 : 0;
  return new ChatTransportError(message || `The server answered ${response.status}`, response.status, waitMs);
}

/**
 * Whether it may go better next time: the network failed, for which fetch() and a body that is cut throw a TypeError,
 * or the server is busy or away.
 *
 * @param {unknown} error
 */
function isPassing(error) {
  if (error instanceof ChatTransportError) return PASSING.has(error.status);
  return error instanceof TypeError || error instanceof SilenceError;
}

/** @param {unknown} error */
const waitOf = (error) => (error instanceof ChatTransportError ? error.waitMs : 0);

/**
 * Ask a few times.
 *
 * @param {() => Promise<Response>} ask
 * @param {AbortSignal} signal
 */
async function insist(ask, signal) {
  for (let asked = 1; ; asked += 1) {
    try {
      return await ask();
    } catch (error) {
      if (asked === MAX_ASKS || !isPassing(error) || waitOf(error) > MAX_ASKED_WAIT_MS) throw error;
      await untilRetry(Math.max(MIN_WAIT_MS * asked, waitOf(error)), signal);
      signal.throwIfAborted();
    }
  }
}

/**
 * Return a controller that aborts with a signal.
 *
 * @param {AbortSignal | undefined} abortSignal
 */
function leaveWith(abortSignal) {
  const leave = new AbortController();
  const { signal } = leave;
  abortSignal?.addEventListener("abort", () => leave.abort(abortSignal.reason), { once: true, signal });
  if (abortSignal?.aborted) leave.abort(abortSignal.reason);
  return leave;
}

/**
 * Leave what cannot be begun.
 *
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortController} leave
 */
async function orLeave(promise, leave) {
  try {
    return await promise;
  } catch (error) {
    leave.abort();
    throw error;
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject);
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/**
 * Wait, but no longer once the network is back, the page is in sight again, or `signal` is aborted.
 *
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function untilRetry(ms, signal) {
  return new Promise((resolve) => {
    const page = globalThis.document;
    const over = new AbortController();
    const finish = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(finish, ms);
    const options = { signal: over.signal };
    globalThis.addEventListener?.("online", finish, options);
    page?.addEventListener("visibilitychange", () => page.visibilityState === "visible" && finish(), options);
    signal.addEventListener("abort", finish, options);
    if (signal.aborted) finish();
  });
}

/**
 * Read a response's messages, and give their chunks in groups with the id after each. Chunks whose id has not come are
 * held back: when the connection is cut, they are sent again. Of a response without ids of a stream (`position` is
 * null) all is one group.
 *
 * The server sends an event's fields each in one line, which ends with LF, and data as JSON.
 *
 * @param {Response} response
 * @param {Position | null} position
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{ chunks: UIMessageChunk[], id: string, isLast: boolean }, void>}
 */
async function* groupsOf(response, position, signal) {
  if (!response.body) return;
  const reader = response.body.getReader();
  const leave = () => reader.cancel().catch(() => {});
  signal.addEventListener("abort", leave);
  const decoder = new TextDecoder();
  let [line, id, data] = ["", "", ""];
  let reached = position?.after ?? "";
  /** @type {UIMessageChunk[]} */
  let chunks = [];
  let whole = 0; // so many of the chunks are followed by their id
  try {
    for (;;) {
      const { done, value } = await unlessSilent(reader.read());
      if (done) return;
      const lines = (line + decoder.decode(value, { stream: true })).split("\n");
      line = lines.pop() ?? "";
      for (const one of lines) {
        if (one.startsWith("id: ")) id = one.slice(4);
        else if (one.startsWith("data: ")) data = one.slice(6);
        if (one !== "" || data === "") continue;
        if (data === "[DONE]") {
          yield { chunks, id, isLast: true };
          return;
        }
        chunks.push(JSON.parse(data));
        if (position && id !== "" && id !== reached) {
          reached = id;
          whole = chunks.length;
        }
        id = data = "";
      }
      if (whole > 0) {
        yield { chunks: chunks.slice(0, whole), id: reached, isLast: false };
        chunks = chunks.slice(whole);
        whole = 0;
      }
    }
  } finally {
    signal.removeEventListener("abort", leave);
    leave();
  }
}

/**
 * Throw when nothing at all, not even a heartbeat, has come for too long.
 *
 * @template T
 * @param {Promise<T>} reading
 * @returns {Promise<T>}
 */
async function unlessSilent(reading) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new SilenceError("The server sends nothing any more")), SILENCE_MS);
  });
  try {
    return await Promise.race([reading, silence]);
  } finally {
    clearTimeout(timer);
  }
}
