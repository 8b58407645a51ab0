// Server-sent events over fetch: a parser that takes the text in pieces, and a reader of a response's body.
// EventSource cannot send a POST, and hides how a connection ended.

/** Parses an event stream (HTML standard, section 9.2.6) that arrives in pieces, cut anywhere. */
export class SseParser {
  #onMessage;
  #line = "";
  #afterReturn = false;
  #started = false;
  #event = "";
  #data = null;
  #id = "";

  /** `onMessage` is called with { event, data, id }; `id` is the one that the message itself carried, or "". */
  constructor(onMessage) {
    this.#onMessage = onMessage;
  }

  /** Take some more text. */
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
    this.#line = lines.pop();
    lines.forEach((line) => this.#take(line));
  }

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
    const message = { event: this.#event, data: this.#data, id: this.#id };
    this.#event = "";
    this.#data = null;
    this.#id = "";
    if (message.data !== null) {
      this.#onMessage(message);
    }
  }
}

/**
 * Read a response's body to its end and give each message to `onMessage`. Throws when the connection is cut, or when
 * nothing at all, not even a heartbeat, has come for `silenceMs`. Ends early when `signal` says so.
 */
export async function readMessages(response, onMessage, silenceMs, signal) {
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
