// A reply that outlives its connection: one stream, followed through reloads, cuts and restarts.
import { ApiError, api, failureOf } from "./api.js";
import { readMessages } from "./sse.js";

const SILENCE_MS = 40_000; // the server sends a heartbeat after 15 s
const MIN_WAIT_MS = 400;
const MAX_WAIT_MS = 5_000;
const MAX_ASKS = 3;
const EVENTS = { Accept: "text/event-stream" }; // all of them: without it, those that older clients know

/**
 * Follows one stream. The handlers:
 *   event(name, data)  text (name "") or a named event, in order, each once
 *   end(state, error)  "done", "stopped", "error", or "gone" when the server does not know the stream any more
 *   cut(waitMs)        the connection is lost, and will be tried again in so many ms
 *   joined()           connected, for the first time or again
 */
export class Reply {
  #on;
  #abort = new AbortController();
  #lastId = "0";
  #failures = 0;
  #state = "done";
  #error = "";
  #ended = false;

  constructor(handlers) {
    this.#on = handlers;
    this.id = null;
  }

  /**
   * Ask for a reply. Resolves when the server has agreed, and throws ApiError when it has not. The question is sent
   * even when another conversation is opened meanwhile. When the answer is lost, it is sent again with the same key, so
   * that it is asked once.
   */
  async ask(body) {
    const key = api.newId();
    let response = null;
    for (let asked = 1; !response; asked += 1) {
      try {
        response = await this.#post(body, key);
      } catch (error) {
        if (asked === MAX_ASKS || (error.status && error.status !== 503)) {
          throw error;
        }
        await untilRetry(MIN_WAIT_MS * asked);
      }
    }
    this.id = response.headers.get("X-Stream-Id");
    if (this.#ended) {
      response.body.cancel().catch(() => {});
      return;
    }
    this.#run(response);
  }

  /** Follow a stream from its beginning. */
  follow(id) {
    this.id = id;
    this.#run(null);
  }

  /** Leave the stream to itself: it goes on without us. */
  close() {
    this.#ended = true;
    this.#abort.abort();
  }

  async #run(response) {
    while (!this.#ended) {
      try {
        response ??= await this.#resume();
        this.#on.joined();
        await readMessages(response, (message) => this.#take(message), SILENCE_MS, this.#abort.signal);
      } catch (error) {
        if (error instanceof ApiError && error.status >= 400 && error.status < 500 && !this.#ended) {
          this.#finish("gone", error.message);
        }
      }
      response = null;
      if (!this.#ended) {
        const wait = Math.min(MAX_WAIT_MS, MIN_WAIT_MS * 2 ** this.#failures) * (0.75 + Math.random() / 2);
        this.#failures += 1;
        this.#on.cut(wait);
        await untilRetry(wait, this.#abort.signal);
      }
    }
  }

  async #post(body, key) {
    let response;
    try {
      response = await fetch("/__aibind__/stream", {
        method: "POST",
        headers: { ...EVENTS, "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify(body),
      });
    } catch {
      throw new ApiError("The server cannot be reached", 0);
    }
    if (!response.ok) {
      throw await failureOf(response);
    }
    return response;
  }

  async #resume() {
    const query = new URLSearchParams({ id: this.id, after: this.#lastId });
    const response = await fetch(`/__aibind__/stream/resume?${query}`, { headers: EVENTS, signal: this.#abort.signal });
    if (!response.ok) {
      throw await failureOf(response);
    }
    return response;
  }

  #take({ event, data, id }) {
    if (this.#ended) {
      return;
    }
    this.#failures = 0;
    if (event === "stream-id") {
      this.id = data;
    } else if (event === "error" || event === "stopped") {
      this.#state = event;
      this.#error = data;
    } else if (event === "done") {
      this.#finish(this.#state, this.#error);
    } else {
      if (id) {
        this.#lastId = id;
      }
      try {
        this.#on.event(event, data);
      } catch (error) {
        reportError(error); // a fault of the page is no reason to connect again
      }
    }
  }

  #finish(state, error) {
    this.#ended = true;
    this.#on.end(state, error);
  }
}

/** Wait, but no longer once the network is back or the page is in sight again. */
export function untilRetry(ms, signal) {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      window.removeEventListener("online", finish);
      document.removeEventListener("visibilitychange", seen);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const seen = () => document.visibilityState === "visible" && finish();
    const timer = setTimeout(finish, ms);
    window.addEventListener("online", finish);
    document.addEventListener("visibilitychange", seen);
    signal?.addEventListener("abort", finish);
  });
}
