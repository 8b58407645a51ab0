// The reply that the page follows: a reply of the client, whose news go to the page's handlers.
import { aibind } from "./api.js";

/**
 * Follows one stream. The handlers:
 *   event(name, data)  text (name "") or a named event, in order, each once
 *   end(state, error)  "done", "stopped", "error", or "gone" when the server does not know the stream any more
 *   cut(waitMs)        the connection is lost, and will be tried again in so many ms
 *   joined()           connected, for the first time or again
 */
export class Reply {
  #on;
  #reply = null;
  #closed = false;

  constructor(handlers) {
    this.#on = handlers;
  }

  /** The stream's id, once the server has said it. */
  get id() {
    return this.#reply?.id ?? null;
  }

  /** Ask for a reply. Resolves when the server has agreed, and throws AibindError when it has not. */
  async ask(body) {
    this.#reply = aibind.ask(body, this.#on);
    await this.#reply.ready();
    this.#listen();
  }

  /** Follow a stream from its beginning. */
  follow(id) {
    this.#reply = aibind.follow(id, this.#on);
    this.#listen();
  }

  /** Leave the stream to itself: it goes on without us. */
  close() {
    this.#closed = true;
    this.#reply?.close();
  }

  async #listen() {
    const reply = this.#reply;
    const state = await reply.listen(({ event, data }) => this.#on.event(event, data));
    if (state !== "live" && !this.#closed) {
      this.#on.end(state, reply.error);
    }
  }
}
