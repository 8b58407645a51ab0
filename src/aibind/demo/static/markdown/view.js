// Shows one text that may grow. What cannot change any more is never touched again; the block that is still open is
// rendered at most once a frame, and less often when that takes long.
import { arrange, endOfSlice, weightOf } from "./budget.js";
import { codeElement, renderAll, renderHeavy } from "./blocks.js";
import { codeBetween } from "./fences.js";
import { colourable, isUncoloured } from "./code.js";
import { findColours } from "./colours.js";
import { Definitions } from "./definitions.js";
import { fillCode } from "./furnish.js";
import { atOnce, findEnds, inSteps, isLight, isLightCode } from "./heavy.js";
import { CODE_STEP_CHARS, MAX_CODE_HEADS } from "./limits.js";
import { Notes } from "./notes.js";
import { patch, patchSteps } from "./patch.js";
import { withoutPending, withoutPendingFence } from "./pending.js";
import { CodeWriter } from "./spans.js";
import { Splitter } from "./splitter.js";
import { Tail } from "./tail.js";

const FRAME_MS = 16;
const SHARE = 4; // rendering takes at most one part in so many of the time
const MAX_WAIT_MS = 1_000;
const BATCH_BLOCKS = 16;
const BATCH_MARKS = 128;

let texts = 0;
export class MarkdownView {
  #container;
  #onChange;
  #splitter = new Splitter();
  #definitions = new Definitions();
  #codes = 0; // blocks of code
  #blocks = []; // those that are over
  #open = { refs: [], notes: [], nodes: [] };
  #code = null; // { element, shown }: the open block, when it is code
  #notes;
  #tail;
  #timer = null;
  #due = 0;
  #colouring = new Set(); // elements of code whose colours are being found
  #coloured = new Set(); // those whose colours were found
  #again = new Set(); // blocks that have to be rendered again
  #held = null; // a piece that is not light: it comes after those that are
  #shown = null; // the source of the open block that is shown, when it is not light
  #isBusy = false; // something is being rendered in steps
  #state = "growing"; // then "ending", "ended" or "closed"

  /** Show a text in `container`; `onChange()` is called whenever more of it is shown. */
  constructor(container, onChange = () => {}, prefix = `text-${(texts += 1)}`) {
    this.text = "";
    this.#container = container;
    this.#onChange = onChange;
    this.#notes = new Notes(container, prefix);
    this.#tail = new Tail(container, this.#notes);
    container.replaceChildren();
    this.#tail.show(this.#open);
  }

  /** Whether all of a text that has ended is shown. */
  get isComplete() {
    return this.#state === "ended" && !this.#colouring.size && !this.#coloured.size && !this.#isBusy;
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
    const isOver = this.#state === "closed" || (this.#state === "ended" && !this.#coloured.size);
    if (this.#timer === null && !isOver) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#render();
      }, Math.max(0, this.#due - performance.now()));
    }
  }

  #render(until = endOfSlice()) {
    if (this.#isBusy) {
      return; // it is called when the work in progress is done
    }
    const started = performance.now();
    this.#tail.hide();
    let isCutShort = !this.#renderBlocks(until);
    if (!isCutShort && !this.#isBusy) {
      isCutShort = !this.#showOpen(until);
    }
    isCutShort &&= !this.#isBusy;
    this.#findColours(this.#open.nodes);
    this.#notes.update([...this.#blocks.filter(({ refs }) => refs.length), this.#open], (label) => this.#note(label));
    if (this.#state === "growing") {
      this.#tail.show(this.#open);
    }
    const took = performance.now() - started;
    this.#due = started + (isCutShort ? took : Math.min(MAX_WAIT_MS, Math.max(FRAME_MS, took * SHARE)));
    if (isCutShort) {
      this.#schedule();
    }
    this.#onChange();
  }

  /** Show the blocks that are over. Returns whether all are shown: some may need more time, or work elsewhere. */
  #renderBlocks(until) {
    const isEnd = this.#state === "ending";
    for (;;) {
      if (performance.now() > until) {
        return false;
      }
      const pieces = this.#batch(isEnd);
      const [again] = this.#again;
      const [coloured] = this.#coloured;
      if (pieces.length && !this.#isHeavy(pieces[0])) {
        const blocks = renderAll(pieces, this.#definitions);
        blocks.forEach((block, index) => this.#settle(pieces[index], block));
      } else if (pieces.length) {
        this.#begin(() => this.#settleHeavy(pieces[0]));
        return false;
      } else if (this.#splitter.wanted) {
        this.#begin(async () => this.#splitter.tell(await findEnds(this.#splitter.wanted.lines)));
        return false;
      } else if (again) {
        this.#again.delete(again);
        if (this.#isHeavy(again.piece)) {
          this.#begin(() => this.#renderHeavyAgain(again));
          return false;
        }
        this.#renderAgain(again, renderAll([again.piece], this.#definitions)[0]);
      } else if (coloured) {
        this.#begin(() => this.#showColours(coloured));
        return false;
      } else if (isEnd && !this.#definitions.isComplete) {
        this.#complete();
      } else {
        this.#state = isEnd ? "ended" : this.#state;
        return true;
      }
      arrange(this.#container, pieces);
    }
  }

  #isHeavy({ kind, source }) {
    return kind === "markdown" ? !isLight(source) : !isLightCode(source);
  }

  /** Do work that takes its time. Nothing else of this text is rendered meanwhile. */
  async #begin(work) {
    this.#isBusy = true;
    const started = performance.now();
    try {
      await work();
    } catch (error) {
      reportError(error);
    }
    this.#isBusy = false;
    if (this.#state !== "closed") {
      this.#due = performance.now() + Math.min(MAX_WAIT_MS, performance.now() - started);
      this.#render();
    }
  }

  #isOver = () => this.#state === "closed";

  /** Take some blocks that are over from the splitter: light ones, or one that is not. */
  #batch(isEnd) {
    const pieces = [];
    let marks = 0;
    while (marks < BATCH_MARKS && pieces.length < BATCH_BLOCKS) {
      const piece = this.#held ?? this.#next(isEnd);
      this.#held = null;
      if (!piece) {
        break;
      }
      if (pieces.length && this.#isHeavy(piece)) {
        this.#held = piece;
        break;
      }
      pieces.push(piece);
      marks += weightOf(piece);
      if (this.#isHeavy(piece)) {
        break;
      }
    }
    return pieces;
  }

  #next(isEnd) {
    const piece = this.#splitter.next(isEnd);
    if (!piece || piece.kind === "markdown") {
      return piece;
    }
    this.#codes += 1;
    return { ...piece, isBare: this.#codes > MAX_CODE_HEADS };
  }

  /** Show a block that is over, in the place where it grew. */
  #settle(piece, { fragment, ...rendered }) {
    this.#keep({ piece, ...rendered, nodes: patch(this.#container, this.#open.nodes, fragment, this.#notes.list) });
  }

  async #settleHeavy(piece) {
    const block = await renderHeavy(piece, this.#definitions, this.#isOver);
    const nodes = block && (await this.#patch(this.#open.nodes, block.fragment, this.#notes.list));
    if (nodes) {
      const { fragment: _, ...rendered } = block;
      this.#keep({ piece, ...rendered, nodes });
    }
  }

  #keep(block) {
    this.#open = { refs: [], notes: [], nodes: [] };
    this.#shown = null;
    this.#code = null;
    this.#blocks.push(block);
    this.#findColours(block.nodes);
    this.#definitions.keep(block).forEach((each) => this.#again.add(each));
  }

  /** Bring neighbouring nodes up to date in steps. Returns those that are there then; undefined when this is over. */
  #patch(old, fragment, anchor) {
    this.#tail.hide();
    return inSteps(patchSteps(this.#container, old, fragment, anchor), this.#isOver, () => this.#container.offsetHeight);
  }

  async #renderHeavyAgain(block) {
    const rendered = await renderHeavy(block.piece, this.#definitions, this.#isOver);
    if (rendered) {
      this.#renderAgain(block, rendered);
    }
  }

  #renderAgain(block, { fragment, ...rendered }) {
    const before = block.notes;
    const last = block.nodes.at(-1);
    Object.assign(block, rendered, { nodes: patch(this.#container, block.nodes, fragment, last ? last.nextSibling : this.#notes.list) });
    this.#findColours(block.nodes);
    this.#definitions.replaceNotes(before, block.notes);
    this.#definitions.keep(block).forEach((each) => this.#again.add(each));
  }

  /** Show the block that is not over. Returns whether all of it is shown. */
  #showOpen(until) {
    if (this.#state === "ended") {
      return true;
    }
    const { open, openFence } = this.#splitter;
    if (openFence) {
      return this.#showOpenCode(openFence.language, withoutPendingFence(codeBetween(open, openFence)), until);
    }
    const piece = { kind: "markdown", source: withoutPending(open) };
    if (piece.source === this.#shown) {
      return true;
    }
    if (this.#isHeavy(piece)) {
      this.#begin(() => this.#showHeavyOpen(piece));
      return true;
    }
    const [{ fragment, ...rendered }] = renderAll([piece], this.#definitions);
    this.#open = { ...rendered, nodes: patch(this.#container, this.#open.nodes, fragment, this.#notes.list) };
    return true;
  }

  async #showHeavyOpen(piece) {
    const block = await renderHeavy(piece, this.#definitions, this.#isOver);
    const nodes = block && (await this.#patch(this.#open.nodes, block.fragment, this.#notes.list));
    if (nodes) {
      const { fragment: _, ...rendered } = block;
      this.#open = { ...rendered, nodes };
      this.#shown = piece.source;
    }
  }

  #showOpenCode(language, code, until) {
    if (!this.#code) {
      const fragment = document.createDocumentFragment();
      fragment.append(codeElement(language, this.#codes >= MAX_CODE_HEADS));
      const [box] = patch(this.#container, this.#open.nodes, fragment, this.#notes.list);
      this.#open = { refs: [], notes: [], nodes: [box] };
      this.#code = { place: box.querySelector("code"), shown: 0 };
    }
    const { place, shown } = this.#code;
    for (let at = shown; at < code.length; this.#code.shown = at) {
      if (at > shown && performance.now() > until) {
        return false;
      }
      const more = code.slice(at, at + CODE_STEP_CHARS);
      atOnce(new CodeWriter(place).add(more));
      arrange(this.#container, [{ kind: "code", source: more }]);
      at += more.length;
    }
    return true;
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
    if (this.#state !== "closed") {
      this.#coloured.add(place);
      this.#render();
    }
  }

  async #showColours(place) {
    this.#coloured.delete(place);
    if (!this.#container.contains(place)) {
      return;
    }
    const { language } = place.parentElement.dataset;
    const fresh = document.createElement("code");
    await inSteps(fillCode(fresh, language, place.textContent), this.#isOver);
    this.#tail.hide();
    await inSteps(patchSteps(place, [...place.childNodes], fresh, null), this.#isOver, () => place.offsetHeight);
    this.#colour(place); // it may have grown meanwhile
  }

  /** Footnotes that are not there yet never will be: have the blocks that refer to them rendered again. */
  #complete() {
    this.#definitions.isComplete = true;
    const missing = (label) => !this.#definitions.note(label);
    this.#blocks
      .filter(({ refs, notes }) => refs.some(missing) || notes.some((note) => note.refs.some(missing)))
      .forEach((block) => this.#again.add(block));
  }

  #note(label) {
    return this.#definitions.note(label) ?? this.#open.notes.find((note) => note.label === label);
  }
}

/** Show a text that is complete. */
export function showMarkdown(container, text, onChange) {
  const view = new MarkdownView(container, onChange);
  view.append(text);
  view.end();
  return view;
}
