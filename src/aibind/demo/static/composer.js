// The field at the bottom: Enter sends, Shift+Enter begins a new line, and the button stops a reply.
import { byId, icon } from "./dom.js";

const DRAFT = "aibind-draft";

export class Composer {
  #form = byId("composer");
  #area = byId("prompt");
  #button = byId("send");
  #busy = false;
  #on;

  /** Handlers: send(text), stop(). */
  constructor(handlers) {
    this.#on = handlers;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener("input", () => this.#changed());
    this.#area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!this.#busy) {
          this.#submit();
        }
      }
    });
    this.text = sessionStorage.getItem(DRAFT) ?? "";
    this.busy = false;
  }

  get text() {
    return this.#area.value;
  }

  set text(text) {
    this.#area.value = text;
    this.#changed();
  }

  set busy(busy) {
    this.#busy = busy;
    const label = busy ? "Stop the reply" : "Send";
    this.#button.replaceChildren(icon(busy ? "stop" : "send"));
    this.#button.setAttribute("aria-label", label);
    this.#button.title = label;
    this.#button.classList.toggle("stops", busy);
    this.#changed();
  }

  /** Go to the field, unless that would open a phone's keyboard unasked. */
  focus() {
    if (!matchMedia("(pointer: coarse)").matches) {
      this.#area.focus({ preventScroll: true });
    }
  }

  #submit() {
    if (this.#busy) {
      this.#on.stop();
      return;
    }
    const text = this.#area.value.trim();
    if (text) {
      this.text = "";
      this.#on.send(text);
    }
  }

  #changed() {
    sessionStorage.setItem(DRAFT, this.#area.value);
    this.#area.style.height = "auto";
    this.#area.style.height = `${this.#area.scrollHeight}px`;
    this.#button.disabled = !this.#busy && !this.#area.value.trim();
  }
}
