// How a page learns what happens elsewhere: other tabs of this browser say so at once, other browsers' doings are found
// by looking at the list now and then. (A second stream for each tab would use up the browser's six connections.)
import { untilRetry } from "/__aibind__/aibind.js";

const LOOK_MS = 2_000;
const MAX_WAIT_MS = 3_000;

export class Sync {
  #channel = "BroadcastChannel" in window ? new BroadcastChannel("aibind-demo") : null;
  #look;
  #looking = null;
  #again = false;

  /** `look()` asks the server for the list, and rejects when it cannot be reached. */
  constructor(look) {
    this.#look = look;
    this.#channel?.addEventListener("message", () => this.#poke());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#poke());
    for (const event of ["focus", "online", "offline"]) {
      window.addEventListener(event, () => this.#poke());
    }
    this.#run();
  }

  /** Tell the other tabs that something has changed. */
  tell() {
    this.#channel?.postMessage("changed");
    this.#poke();
  }

  /** Look at once; a look that fails is repeated by the loop. */
  #poke() {
    this.#now().catch(() => {});
  }

  async #now() {
    if (this.#looking) {
      this.#again = true; // what is on its way may be older than what has changed
      return this.#looking;
    }
    this.#looking = this.#look().finally(() => {
      this.#looking = null;
      if (this.#again) {
        this.#again = false;
        this.#poke();
      }
    });
    return this.#looking;
  }

  async #run() {
    let wait = LOOK_MS;
    for (;;) {
      try {
        if (document.visibilityState === "visible") {
          await this.#now();
        }
        wait = LOOK_MS;
      } catch {
        wait = Math.min(MAX_WAIT_MS, wait * 1.25);
      }
      await untilRetry(wait);
    }
  }
}
