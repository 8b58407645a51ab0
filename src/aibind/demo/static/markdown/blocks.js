// One block of a text, as elements.
import { el } from "../dom.js";
import { closingLine, codeBetween, openingFence } from "./fences.js";
import { codeBox, fillCode, furnishSteps } from "./furnish.js";
import { atOnce, findHtml, inSteps } from "./heavy.js";
import { htmlOf } from "./parser.js";
import { sanitiseAll } from "./sanitise.js";
import { sanitiseSteps } from "./slices.js";

/**
 * @typedef {{ label: string, content: DocumentFragment, refs: string[] }} Note
 * @typedef {{
 *   fragment: DocumentFragment,  what is shown in its place
 *   refs: string[],              the footnotes that it refers to, in order
 *   notes: Note[],               the footnotes that it defines
 *   links: Map<string, object>,  the addresses that it defines
 *   sought: Set<string>,         the addresses that it looked for
 * }} Rendered
 */

/**
 * Render pieces of text that the splitter cut off, or has not cut off yet.
 * @returns {Rendered[]}
 */
export function renderAll(pieces, definitions) {
  const environments = pieces.map(() => definitions.environment());
  const texts = pieces.map(({ kind, source }, index) => (kind === "markdown" ? htmlOf(source, environments[index]) : ""));
  const fragments = sanitiseAll(texts);
  return pieces.map((piece, index) => {
    const fragment = piece.kind === "markdown" ? fragments[index] : atOnce(codeSteps(piece));
    if (piece.kind === "markdown") {
      atOnce(furnishSteps(fragment));
    }
    return rendered(fragment, environments[index]);
  });
}

/**
 * Render a piece that is not light: read in a worker if it is Markdown, and made in steps. Returns undefined when `isOver()`
 * meanwhile.
 * @returns {Promise<Rendered | undefined>}
 */
export async function renderHeavy({ kind, source, isBare }, definitions, isOver) {
  const answer = kind === "markdown" && (await findHtml(source, definitions.known));
  if (!answer) {
    const piece = { kind: kind === "markdown" ? "plain" : kind, source, isBare };
    const fragment = isOver() ? undefined : await inSteps(codeSteps(piece), isOver);
    return fragment && { fragment, refs: [], notes: [], links: new Map(), sought: new Set() };
  }
  const fragment = isOver() ? undefined : await inSteps(sanitiseSteps(answer.html), isOver);
  if (fragment) {
    await inSteps(furnishSteps(fragment), isOver);
  }
  return isOver() ? undefined : rendered(fragment, answer.environment);
}

/** Make the block of code that a piece is, in steps. */
function* codeSteps({ kind, source, isBare }) {
  const fence = kind === "plain" ? null : openingFence(source);
  const end = fence && (closingLine(source, fence, fence.length, true)?.[0] ?? source.length);
  const box = codeElement(fence?.language ?? "", isBare);
  yield* fillCode(box.querySelector("code"), fence?.language ?? "", fence ? codeBetween(source, fence, end) : source);
  const fragment = document.createDocumentFragment();
  fragment.append(box);
  return fragment;
}

/** Take the footnotes out of a block, and mark where it refers to some. */
function rendered(fragment, environment) {
  environment.links.forEach((_, label) => environment.sought.delete(label));
  const notes = [...fragment.querySelectorAll("section[data-note]")].map((section) => ({
    label: environment.noteDefinitions[Number(section.dataset.note)],
    section,
  }));
  const refs = new Map(); // by the note that they stand in; null for the block
  for (const mark of fragment.querySelectorAll("sup[data-note]")) {
    const place = mark.closest("section[data-note]");
    refs.set(place, refs.get(place) ?? []);
    refs.get(place).push(environment.noteRefs[Number(mark.dataset.note)]);
    mark.removeAttribute("data-note");
    mark.className = "note-ref";
    mark.replaceChildren(el("a", {}, "*")); // until it has its number
  }
  return {
    fragment,
    refs: refs.get(null) ?? [],
    notes: notes.map(({ label, section }) => ({ label, refs: refs.get(section) ?? [], content: contentOf(section) })),
    links: environment.links,
    sought: environment.sought,
  };
}

/** Take an element away, and return what was in it. */
function contentOf(element) {
  const content = document.createDocumentFragment();
  content.append(...element.childNodes);
  element.remove();
  return content;
}

/** Make an empty block of code, without a head when `isBare`. */
export function codeElement(language, isBare) {
  const pre = el("pre", { "data-language": language, tabindex: "0" }, el("code"));
  return isBare ? el("div", { class: "code" }, pre) : codeBox(pre);
}
