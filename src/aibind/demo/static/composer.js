// The field at the bottom: Enter sends, Shift+Enter begins a new line, and the button stops a reply.
import { byId, icon } from "./dom.js";

const DRAFT = "aibind-draft";
const UNSENT = "aibind-unsent"; // what was sent, until the server has it: a reload in between must not lose it

export class Composer {
  #form = byId("composer");
  #area = byId("prompt");
  #button = byId("send");
  #busy = false;
  #restored = false; // the field holds what may have been sent
  #on;

  /** Handlers: send(text), stop(). */
  constructor(handlers) {
    this.#on = handlers;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener("input", () => {
      if (!this.#busy) {
        this.sent(); // what came back has been changed, or thrown away
      }
      this.#changed();
    });
    this.#area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!this.#busy && !event.repeat) {
          this.#submit();
        }
      }
    });
    this.#button.addEventListener("click", (event) => {
      if (event.detail === 2) {
        event.preventDefault(); // the second half of a double click on "Send" would stop the reply
      }
    });
    const unsent = sessionStorage.getItem(UNSENT);
    this.text = sessionStorage.getItem(DRAFT) || unsent || "";
    this.#restored = this.text === unsent;
    sessionStorage.removeItem(UNSENT);
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

  /** The server has what was sent. */
  sent() {
    sessionStorage.removeItem(UNSENT);
  }

  /** This has been said already: it is no draft, although a reload came before we knew. */
  forget(text) {
    if (this.#restored && this.text === text) {
      this.text = "";
    }
    this.#restored = false;
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
      sessionStorage.setItem(UNSENT, text);
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
