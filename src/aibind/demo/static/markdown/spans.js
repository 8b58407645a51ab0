// Code in colours, from the highlighter's HTML to elements. That HTML is made of nothing but spans with classes and of
// text, and so is what comes of it: nothing else is ever made, whatever it holds. The sanitiser takes ten times as long.
//
// Long code stands in parts of whole lines, each a block but the first: a browser arranges a block as a whole, in a time
// that may grow with the square of what is in it.
import { el } from "../dom.js";
import { MAX_LINE_ELEMENTS, PART_CHARS, PART_LINES } from "./limits.js";

const PIECE = /<span class="([\w .-]*)">|<\/span>|&(amp|lt|gt|quot|#x27);|[^<&]+|[<&]/g;
const CHARACTERS = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };
const PART_WORK = 8;

/** Whether a node is a part of code. */
export const isPart = (node) => node.className === "part";

/** Adds code to an element. What it does is done in steps, as inSteps() in heavy.js wants them. */
export class CodeWriter {
  #root;
  #place; // where text is added
  #open = []; // the spans that are open: { name, outer }; without a name where a span was left out
  #text = "";
  #lines = 0; // complete ones of this part
  #chars = 0; // of this part
  #isNewLine = true;
  #elements = 0; // of this line

  /** Go on after the code that is in `root`. */
  constructor(root) {
    const last = root.lastElementChild;
    this.#root = root;
    this.#place = last && isPart(last) ? last : root;
    const text = this.#place.textContent;
    this.#lines = text.split("\n").length - 1;
    this.#chars = text.length;
    this.#isNewLine = !text || text.endsWith("\n");
  }

  /** Add code as it is. */
  *add(text) {
    yield* this.#addText(text);
    this.#flush();
  }

  /** Add the highlighter's HTML. */
  *addHtml(html) {
    for (const [piece, name, entity] of html.matchAll(PIECE)) {
      if (name !== undefined) {
        yield* this.#turn();
        this.#elements += 1;
        this.#openSpan(this.#elements > MAX_LINE_ELEMENTS ? undefined : name);
      } else if (piece === "</span>" && this.#open.length) {
        this.#closeSpan();
      } else {
        yield* this.#addText(entity ? CHARACTERS[entity] : piece);
      }
    }
    this.#flush();
  }

  *#addText(text) {
    for (let at = 0; at < text.length; ) {
      yield* this.#turn();
      const end = text.indexOf("\n", at) + 1 || text.length;
      this.#text += text.slice(at, end);
      this.#chars += end - at;
      this.#isNewLine = text[end - 1] === "\n";
      if (this.#isNewLine) {
        this.#lines += 1;
        this.#elements = 0;
      }
      at = end;
    }
  }

  /** Begin the next part when this one is full, and open again in it what is open. */
  *#turn() {
    if (!this.#isNewLine || (this.#lines < PART_LINES && this.#chars < PART_CHARS)) {
      return;
    }
    this.#flush();
    yield PART_WORK;
    this.#lines = 0;
    this.#chars = 0;
    this.#place = this.#root.appendChild(el("span", { class: "part" }));
    const names = this.#open.map(({ name }) => name);
    this.#open = [];
    names.forEach((name) => this.#openSpan(name));
  }

  #openSpan(name) {
    this.#flush();
    this.#open.push({ name, outer: this.#place });
    if (name !== undefined) {
      this.#place = this.#place.appendChild(el("span", { class: name }));
    }
  }

  #closeSpan() {
    this.#flush();
    this.#place = this.#open.pop().outer;
  }

  #flush() {
    if (this.#text && this.#place.lastChild?.nodeType === Node.TEXT_NODE) {
      this.#place.lastChild.appendData(this.#text);
    } else if (this.#text) {
      this.#place.append(this.#text);
    }
    this.#text = "";
  }
}
