// Keeps the latest words in sight, unless the reader has scrolled up.
import { byId } from "./dom.js";

const NEAR_PX = 80;
const AHEAD_PX = 600;

export class Scroller {
  #place = byId("scroller");
  #button = byId("to-end");
  #sticks = true;
  #frame = 0;
  #lastTop = 0;

  /** `onEnd()` is called when the button was used, which goes away then: the focus needs another place. */
  constructor(onEnd) {
    this.#place.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#button.addEventListener("click", () => {
      this.toEnd();
      onEnd();
    });
    // The keyboard of a phone, or another size of the window. What opens by a click stays where it was clicked.
    new ResizeObserver(() => this.follow()).observe(this.#place);
  }

  /** Go to the end, and stay there. */
  toEnd() {
    this.#sticks = true;
    this.follow();
  }

  /** Go to the beginning. */
  toStart() {
    this.#sticks = false;
    this.#place.scrollTop = 0;
    this.#look();
  }

  /** Do what adds something above, and keep in place what is in sight. */
  async hold(act) {
    const first = this.#place.querySelector(".message");
    const before = first?.getBoundingClientRect().top;
    const result = await act();
    if (first?.isConnected) {
      this.#place.scrollTop += first.getBoundingClientRect().top - before;
    }
    return result;
  }

  /** Call `act()` when somebody scrolls, and is at the beginning or nearly. */
  whenNearStart(act) {
    this.#place.addEventListener("scroll", () => !this.#sticks && this.#place.scrollTop < AHEAD_PX && act(), { passive: true });
  }

  /** Something has grown. */
  follow() {
    if (!this.#frame) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        if (this.#sticks && !this.#place.querySelector(".editor")) {
          this.#place.scrollTop = this.#place.scrollHeight;
        }
        this.#look();
      });
    }
  }

  #look() {
    const top = this.#place.scrollTop;
    const below = this.#place.scrollHeight - this.#place.clientHeight - top;
    if (top < this.#lastTop && below > 0) {
      this.#sticks = below < NEAR_PX; // only a person scrolls up
    } else if (top > this.#lastTop && below < NEAR_PX) {
      this.#sticks = true;
    }
    this.#lastTop = top;
    this.#button.hidden = this.#sticks || below < NEAR_PX;
  }
}
