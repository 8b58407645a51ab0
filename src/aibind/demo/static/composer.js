// The field at the bottom: Enter sends, Shift+Enter begins a new line, and the button stops a reply.
import { byId, icon } from "./dom.js";
import { drafts, NEW, unsent } from "./drafts.js";

export class Composer {
  #form = byId("composer");
  #area = byId("prompt");
  #button = byId("send");
  #busy = false;
  #conversation = NEW; // whose draft the field holds
  #restored = null; // the conversation whose draft may have been sent already
  #on;

  /** Handlers: send(text), stop(), wait() a message cannot be sent yet. `here` is the conversation of the address. */
  constructor(handlers, here) {
    this.#on = handlers;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#busy) {
        this.#on.stop();
      } else {
        this.#submit();
      }
    });
    this.#area.addEventListener("input", () => {
      if (!this.#busy) {
        this.sent(); // what came back was changed, or thrown away
      }
      this.#changed();
    });
    this.#area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (this.#busy) {
          this.#on.wait();
        } else if (!event.repeat) {
          this.#submit();
        }
      }
    });
    this.#button.addEventListener("click", (event) => {
      if (event.detail === 2) {
        event.preventDefault(); // the second half of a double click on "Send" would stop the reply
      }
    });
    this.#restored = unsent.restore(here ?? NEW);
    this.open(here);
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

  /** Show the draft of a conversation; null is the one that has no id yet. */
  open(id) {
    this.#conversation = id ?? NEW;
    this.text = drafts.read(this.#conversation);
  }

  /** The conversation that is open has an id now. */
  created(id) {
    drafts.move(this.#conversation, id);
    unsent.move(id);
    this.#conversation = id;
  }

  /** A conversation is gone: what was written for it is kept for a new one. */
  gone(id) {
    drafts.move(id, NEW);
  }

  /** The server has what was sent. */
  sent() {
    unsent.clear();
  }

  /** The server does not want a message: put it back where it was written. */
  back(text, id) {
    const conversation = id ?? NEW;
    if (conversation === this.#conversation) {
      this.text ||= text;
    } else if (!drafts.read(conversation)) {
      drafts.write(conversation, text);
    }
  }

  /** This is in the conversation already: it is no draft, although a reload came before we knew. */
  forget(text) {
    if (this.#restored === this.#conversation) {
      this.#restored = null;
      if (this.text === text) {
        this.text = "";
      }
    }
  }

  /** Go to the field, unless that would open a phone's keyboard unasked. Returns whether it did. */
  focus() {
    if (matchMedia("(pointer: coarse)").matches) {
      return false;
    }
    this.#area.focus({ preventScroll: true });
    return true;
  }

  #submit() {
    const text = this.#area.value.trim();
    if (text) {
      unsent.write(this.#conversation, text);
      this.text = "";
      this.#on.send(text);
    }
  }

  #changed() {
    drafts.write(this.#conversation, this.#area.value);
    this.#area.style.height = "auto";
    this.#area.style.height = `${this.#area.scrollHeight}px`;
    this.#button.disabled = !this.#busy && !this.#area.value.trim();
  }
}
