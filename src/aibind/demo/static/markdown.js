// Markdown that grows. New text is shown at once, as plain text at the end; a little later the server's rendering takes
// its place. What cannot change any more is never touched again, so that nothing flickers and nothing is rendered twice.
import { api } from "./api.js";
import { copyButton, el } from "./dom.js";

const RENDER_EVERY_MS = 125;
const RETRY_MS = 600;
const BLOCKS = new Set(["P", "LI", "UL", "OL", "BLOCKQUOTE", "PRE", "CODE", "H1", "H2", "H3", "H4", "H5", "H6", "DIV"]);
const CLOSED = new Set(["TABLE", "HR"]);
const MARKUP = /[\n`*_[\]<>|~\\!&]/;
const MARKUP_AT_START = /^[\s#>+\-=|`~*_\d[<\\!&]/;

/** Make elements of HTML that our own server has sanitised; each block of code gets its language and a copy button. */
export function toFragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const pre of template.content.querySelectorAll("pre")) {
    const code = el("div", { class: "code" });
    pre.replaceWith(code);
    const head = el("div", { class: "code-head" }, el("span", {}, pre.dataset.language || "text"));
    head.append(copyButton("Copy this code", () => pre.textContent.replace(/\n$/, "")));
    pre.tabIndex = 0; // it scrolls sideways, also by keyboard
    code.append(head, pre);
  }
  for (const table of template.content.querySelectorAll("table")) {
    const wrap = el("div", { class: "table", tabindex: "0" });
    table.replaceWith(wrap);
    wrap.append(table);
  }
  return template.content;
}

/** Shows one growing text in `container`. */
export class GrowingMarkdown {
  #container;
  #rest = el("div", { class: "rest" });
  #tail = el("span", { class: "tail" });
  #settled = 0; // so much of the text is rendered for good
  #rendered = 0; // so much of what follows is rendered in #rest
  #timer = null;
  #rendering = false;
  #nextRender = 0;
  #closed = false;
  #onChange;

  constructor(container, onChange) {
    this.text = "";
    this.#container = container;
    this.#onChange = onChange;
    container.replaceChildren(this.#rest);
    this.#paintTail();
  }

  append(text) {
    this.text += text;
    this.#paintTail();
    this.#schedule();
  }

  /** Stop rendering; the caret goes away, the words stay. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#tail.replaceWith(this.#tail.textContent);
  }

  #schedule(delay = 0) {
    if (this.#timer !== null || this.#rendering || this.#closed) {
      return;
    }
    const due = this.#nextRender - performance.now();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#render();
    }, Math.max(0, due, delay));
  }

  async #render() {
    const source = renderable(this.text.slice(this.#settled));
    if (!source || source.length === this.#rendered) {
      return; // the next piece of text asks again
    }
    this.#rendering = true;
    const started = performance.now();
    let part = null;
    try {
      part = await api.render(source, true);
    } catch {
      // The server is away; what is shown as plain text stays.
    }
    this.#rendering = false;
    const took = performance.now() - started;
    this.#nextRender = started + Math.max(RENDER_EVERY_MS, took * 4); // a block that takes long is rendered less often
    if (this.#closed) {
      return;
    }
    if (part) {
      this.#place(source, part);
    }
    if (this.text.length > this.#settled + this.#rendered) {
      this.#schedule(part ? 0 : RETRY_MS);
    }
  }

  #place(source, part) {
    const settled = offsetOfLine(source, part.lines);
    if (part.settled) {
      this.#rest.before(toFragment(part.settled));
    }
    this.#rest.replaceChildren(toFragment(part.rest));
    if (!source.endsWith("\n")) {
      openLastLine(this.#rest);
    }
    this.#settled += settled;
    this.#rendered = source.length - settled;
    this.#paintTail();
  }

  /** Show what is not rendered yet, as far as it is sure to look like this when it is. */
  #paintTail() {
    const before = this.text.slice(this.#settled, this.#settled + this.#rendered);
    const text = this.text.slice(this.#settled + this.#rendered);
    this.#tail.remove();
    let host = this.#rest;
    while (host.lastElementChild && BLOCKS.has(host.lastElementChild.tagName)) {
      host = host.lastElementChild;
    }
    const inCode = host.tagName === "CODE" || host.tagName === "PRE";
    const afterClosed = host.lastElementChild && CLOSED.has(host.lastElementChild.tagName);
    let shown = "";
    if (inCode) {
      shown = text.split(/\n?^[ ]{0,3}(```|~~~)/m, 1)[0];
    } else if (!afterClosed && !(/\n$|^$/.test(before) && MARKUP_AT_START.test(text))) {
      const cut = text.search(MARKUP);
      shown = cut < 0 ? text : text.slice(0, cut);
      shown = before.endsWith("\n") && !before.endsWith("\n\n") && shown ? ` ${shown}` : shown;
    }
    this.#tail.textContent = shown;
    if (host === this.#rest || afterClosed || (!inCode && before.endsWith("\n\n"))) {
      this.#rest.querySelector(":scope > .growing")?.remove();
      this.#rest.append(el("p", { class: "growing" }, this.#tail));
    } else {
      host.append(this.#tail);
    }
    this.#onChange();
  }
}

/** Leave off the end of a text that may yet turn out to be the beginning of something else. */
function renderable(text) {
  const end = text.lastIndexOf("\n") + 1;
  const lastLine = text.slice(end);
  let kept = text;
  if (/^\s*(\||`{1,3}[^`]*$|~{1,3}|#{1,6}\s*$|[-*+>=_]{1,3}\s*$|\d{1,9}[.)]?\s*$)/.test(lastLine)) {
    kept = text.slice(0, end);
  }
  // The head of a table is a paragraph until the line below it is complete.
  return kept.replace(/(^|\n\n)\|[^\n]*\n?$/, "$1");
}

/** Take away the line end that rendering adds to code: its last line still grows. */
function openLastLine(place) {
  let node = place.lastElementChild;
  while (node?.lastChild) {
    node = node.lastChild;
  }
  if (node?.nodeType === Node.TEXT_NODE && node.parentElement.closest("pre")) {
    node.data = node.data.replace(/\n$/, "");
  }
}

function offsetOfLine(text, lines) {
  let offset = 0;
  for (let line = 0; line < lines; line += 1) {
    offset = text.indexOf("\n", offset) + 1;
  }
  return offset;
}
