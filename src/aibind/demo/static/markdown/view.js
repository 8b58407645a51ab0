// Shows one text that may grow. What cannot change any more is never touched again; the block that is still open is
// rendered at most once a frame, and less often when that takes long.
import { el } from "../dom.js";
import { codeElement, fillCode, renderAll } from "./blocks.js";
import { codeBetween } from "./fences.js";
import { colourable, isUncoloured } from "./code.js";
import { findColours } from "./colours.js";
import { Definitions } from "./definitions.js";
import { Notes } from "./notes.js";
import { patch } from "./patch.js";
import { withoutPending, withoutPendingFence } from "./pending.js";
import { Splitter } from "./splitter.js";

const FRAME_MS = 16;
const SHARE = 4; // rendering takes at most one part in so many of the time
const MAX_WAIT_MS = 1_000;
const SLICE_MS = 40;
const BATCH_BLOCKS = 32;
const BATCH_CHARS = 8 * 1024;
const HOSTS = new Set(["P", "LI", "UL", "OL", "BLOCKQUOTE", "PRE", "H1", "H2", "H3", "H4", "H5", "H6", "DIV"]);

let texts = 0;
let sliceEnd = 0;

/** Return when rendering has to stop for this turn of the event loop: all texts of a conversation share the time. */
function endOfSlice() {
  if (!sliceEnd) {
    sliceEnd = performance.now() + SLICE_MS;
    setTimeout(() => {
      sliceEnd = 0;
    });
  }
  return sliceEnd;
}

export class MarkdownView {
  #container;
  #onChange;
  #splitter = new Splitter();
  #definitions = new Definitions();
  #blocks = []; // those that are over
  #open = { refs: [], notes: [], nodes: [] };
  #code = null; // { element, shown }: the open block, when it is code
  #notes;
  #tail = el("span", { class: "tail" });
  #timer = null;
  #due = 0;
  #colouring = new Set(); // elements of code whose colours are being found
  #state = "growing"; // then "ending", "ended" or "closed"

  /** Show a text in `container`; `onChange()` is called whenever more of it is shown. */
  constructor(container, onChange = () => {}, prefix = `text-${(texts += 1)}`) {
    this.text = "";
    this.#container = container;
    this.#onChange = onChange;
    this.#notes = new Notes(container, prefix);
    container.replaceChildren();
    this.#showTail();
  }

  /** Whether all of a text that has ended is shown. */
  get isComplete() {
    return this.#state === "ended" && !this.#colouring.size;
  }

  /** Take some more text. */
  append(text) {
    this.text += text;
    this.#splitter.push(text);
    this.#schedule();
  }

  /** Show what has come so far now, not at the next turn. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#render(Infinity);
  }

  /** No more text comes. Shows all of it now, unless that takes long. */
  end() {
    this.#state = "ending";
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#render();
  }

  /** Show no more of it. */
  close() {
    this.#state = "closed";
    clearTimeout(this.#timer);
  }

  #schedule() {
    if (this.#timer === null && (this.#state === "growing" || this.#state === "ending")) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#render();
      }, Math.max(0, this.#due - performance.now()));
    }
  }

  #render(until = endOfSlice()) {
    const started = performance.now();
    const isEnd = this.#state === "ending";
    const again = new Set();
    let isCutShort = false;
    this.#hideTail();
    for (;;) {
      isCutShort = performance.now() > until;
      const pieces = isCutShort ? [] : this.#batch(isEnd);
      if (!pieces.length) {
        break;
      }
      const blocks = renderAll(pieces, this.#definitions);
      blocks.forEach((block, index) => this.#settle(pieces[index], block).forEach((each) => again.add(each)));
    }
    again.forEach((block) => this.#renderAgain(block));
    if (isCutShort) {
      // There is more than fits into one slice of time.
    } else if (isEnd) {
      this.#end();
    } else {
      this.#showOpen();
    }
    this.#findColours(this.#open.nodes);
    this.#notes.update([...this.#blocks.filter(({ refs }) => refs.length), this.#open], (label) => this.#note(label));
    if (this.#state === "growing") {
      this.#showTail();
    }
    const took = performance.now() - started;
    this.#due = started + (isCutShort ? took : Math.min(MAX_WAIT_MS, Math.max(FRAME_MS, took * SHARE)));
    if (isCutShort) {
      this.#schedule();
    }
    this.#onChange();
  }

  /** Take some blocks that are over from the splitter. */
  #batch(isEnd) {
    const pieces = [];
    let chars = 0;
    for (let piece; chars < BATCH_CHARS && pieces.length < BATCH_BLOCKS && (piece = this.#splitter.next(isEnd)); ) {
      pieces.push(piece);
      chars += piece.source.length;
    }
    return pieces;
  }

  /** Show a block that is over, in the place where it grew. Returns the blocks that have to be rendered again. */
  #settle(piece, { fragment, ...rendered }) {
    const block = { piece, ...rendered, nodes: patch(this.#container, this.#open.nodes, fragment, this.#notes.list) };
    this.#open = { refs: [], notes: [], nodes: [] };
    this.#code = null;
    this.#blocks.push(block);
    this.#findColours(block.nodes);
    return this.#definitions.keep(block);
  }

  #renderAgain(block) {
    const before = block.notes;
    const [{ fragment, ...rendered }] = renderAll([block.piece], this.#definitions);
    const last = block.nodes.at(-1);
    Object.assign(block, rendered, { nodes: patch(this.#container, block.nodes, fragment, last ? last.nextSibling : this.#notes.list) });
    this.#findColours(block.nodes);
    this.#definitions.replaceNotes(before, block.notes);
    this.#definitions.keep(block);
  }

  #showOpen() {
    const { open, openFence } = this.#splitter;
    if (openFence) {
      this.#showOpenCode(openFence.language, withoutPendingFence(codeBetween(open, openFence)));
      return;
    }
    const [{ fragment, ...rendered }] = renderAll([{ kind: "markdown", source: withoutPending(open) }], this.#definitions);
    this.#open = { ...rendered, nodes: patch(this.#container, this.#open.nodes, fragment, this.#notes.list) };
  }

  #showOpenCode(language, code) {
    if (!this.#code) {
      const element = codeElement(language, code);
      const fragment = document.createDocumentFragment();
      fragment.append(element);
      const [box] = patch(this.#container, this.#open.nodes, fragment, this.#notes.list);
      this.#open = { refs: [], notes: [], nodes: [box] };
      this.#code = { place: box.querySelector("code"), shown: code };
      return;
    }
    const { place, shown } = this.#code;
    this.#code.shown = code;
    if (place.lastChild?.nodeType === Node.TEXT_NODE) {
      place.lastChild.appendData(code.slice(shown.length));
    } else {
      place.append(code.slice(shown.length));
    }
  }

  // --- colours: they come later, from a worker ---

  #findColours(nodes) {
    for (const node of nodes) {
      if (node.nodeType === Node.ELEMENT_NODE) {
        node.querySelectorAll("pre[data-language] > code").forEach((place) => this.#colour(place));
      }
    }
  }

  async #colour(place) {
    const { language } = place.parentElement.dataset;
    const code = place.textContent;
    if (this.#colouring.has(place) || !isUncoloured(code, language)) {
      return;
    }
    this.#colouring.add(place);
    await findColours(colourable(code), language);
    this.#colouring.delete(place);
    if (this.#container.contains(place) && this.#state !== "closed") {
      this.#hideTail();
      const fresh = document.createElement("code");
      fillCode(fresh, language, place.textContent);
      patch(place, [...place.childNodes], fresh, null);
      if (this.#state === "growing") {
        this.#showTail();
      }
      this.#colour(place); // it may have grown meanwhile
      this.#onChange();
    }
  }

  #end() {
    this.#state = "ended";
    this.#definitions.isComplete = true;
    const missing = (label) => !this.#definitions.note(label);
    this.#blocks
      .filter(({ refs, notes }) => refs.some(missing) || notes.some((note) => note.refs.some(missing)))
      .forEach((block) => this.#renderAgain(block));
  }

  #note(label) {
    return this.#definitions.note(label) ?? this.#open.notes.find((note) => note.label === label);
  }

  // --- the caret: at the end of the words, or where they will be ---

  #showTail() {
    const last = this.#open.nodes.findLast((node) => node.nodeType === Node.ELEMENT_NODE) ?? this.#notes.element(this.#open.notes.at(-1)?.label);
    let host = last;
    while (host?.lastElementChild && (HOSTS.has(host.lastElementChild.tagName) || host.tagName === "PRE")) {
      host = host.lastElementChild;
    }
    if (host && (HOSTS.has(host.tagName) || host.tagName === "CODE") && !host.matches(".table, .maths")) {
      host.append(this.#tail);
    } else {
      this.#container.insertBefore(el("p", { class: "growing" }, this.#tail), this.#notes.list);
    }
  }

  #hideTail() {
    const place = this.#tail.parentElement;
    this.#tail.remove();
    if (place?.matches(".growing")) {
      place.remove();
    }
  }
}

/** Show a text that is complete. */
export function showMarkdown(container, text, onChange) {
  const view = new MarkdownView(container, onChange);
  view.append(text);
  view.end();
  return view;
}
