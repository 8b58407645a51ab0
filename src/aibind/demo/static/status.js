// The line above the message field: says that the connection is lost, and when it is back.
import { byId } from "./dom.js";

const GOOD_MS = 1_800;
const OTHER_MS = 8_000;

export class Status {
  #place = byId("status");
  #lost = new Set();
  #timer = null;
  #flash = null;

  /** `part` ("reply" or "server") cannot reach the server. */
  lost(part) {
    this.#lost.add(part);
    this.#show();
  }

  /** `part` can reach it. Returns whether it could not before. */
  found(part) {
    const wasLost = this.#lost.delete(part);
    if (wasLost && this.#lost.size === 0) {
      this.say("Connected again", "good");
    }
    return wasLost;
  }

  /** Forget a part that is over. */
  forget(part) {
    if (this.#lost.delete(part)) {
      this.#show();
    }
  }

  /** Say something for a moment, or an error until the next thing happens. */
  say(text, kind) {
    clearTimeout(this.#timer);
    this.#flash = { text, kind };
    this.#timer = setTimeout(() => {
      this.#flash = null;
      this.#show();
    }, kind === "good" ? GOOD_MS : OTHER_MS);
    this.#show();
  }

  /** Take back what was said of this kind. */
  unsay(kind) {
    if (this.#flash?.kind === kind) {
      clearTimeout(this.#timer);
      this.#flash = null;
      this.#show();
    }
  }

  #show() {
    let { text, kind } = this.#flash ?? { text: "", kind: "" };
    if (this.#lost.size) {
      kind = "lost";
      text = navigator.onLine ? "The server cannot be reached. Trying again …" : "You are offline. It goes on as soon as you are back.";
    }
    this.#place.className = `status ${kind}`;
    if (this.#place.textContent !== text) {
      this.#place.textContent = text;
    }
  }
}
