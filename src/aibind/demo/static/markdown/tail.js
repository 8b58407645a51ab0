// The caret of a text that grows: at the end of the words, or where they will be.
import { el } from "../dom.js";
import { isPart } from "./spans.js";

const HOSTS = new Set(["P", "LI", "UL", "OL", "BLOCKQUOTE", "PRE", "H1", "H2", "H3", "H4", "H5", "H6", "DIV"]);

export class Tail {
  #container;
  #notes;
  #element = el("span", { class: "tail" });

  /** The caret of the text in `container`, whose footnotes are `notes`. */
  constructor(container, notes) {
    this.#container = container;
    this.#notes = notes;
  }

  /** Show it at the end of the open block. */
  show({ nodes, notes }) {
    const last = nodes.findLast((node) => node.nodeType === Node.ELEMENT_NODE) ?? this.#notes.element(notes.at(-1)?.label);
    let host = last;
    while (host?.lastElementChild && (HOSTS.has(host.lastElementChild.tagName) || host.tagName === "PRE")) {
      host = host.lastElementChild;
    }
    if (host?.localName === "code" && host.lastElementChild && isPart(host.lastElementChild)) {
      host = host.lastElementChild;
    }
    if (host && (HOSTS.has(host.tagName) || host.tagName === "CODE" || isPart(host)) && !host.matches(".table, .maths")) {
      host.append(this.#element);
    } else {
      this.#container.insertBefore(el("p", { class: "growing" }, this.#element), this.#notes.list);
    }
  }

  hide() {
    const place = this.#element.parentElement;
    this.#element.remove();
    if (place?.matches(".growing")) {
      place.remove();
    }
  }
}
