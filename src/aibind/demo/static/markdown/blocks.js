// One block of a text, as elements.
import { el } from "../dom.js";
import { colours } from "./code.js";
import { closingLine, codeBetween, openingFence } from "./fences.js";
import { codeBox, furnishSteps } from "./furnish.js";
import { atOnce, findHtml, inSteps } from "./heavy.js";
import { htmlOf } from "./parser.js";
import { sanitiseAll } from "./sanitise.js";
import { sanitiseSteps } from "./slices.js";
import { spansOf } from "./spans.js";

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
    const fragment = piece.kind === "markdown" ? fragments[index] : codeOf(piece);
    if (piece.kind === "markdown") {
      atOnce(furnishSteps(fragment));
    }
    return rendered(fragment, environments[index]);
  });
}

/**
 * Render a piece that is not light: read in a worker, and made in steps. Returns undefined when `isOver()` meanwhile.
 * @returns {Promise<Rendered | undefined>}
 */
export async function renderHeavy({ source }, definitions, isOver) {
  const answer = await findHtml(source, definitions.known);
  if (!answer) {
    return { fragment: codeOf({ kind: "plain", source }), refs: [], notes: [], links: new Map(), sought: new Set() };
  }
  const fragment = isOver() ? undefined : await inSteps(sanitiseSteps(answer.html), isOver);
  if (fragment) {
    await inSteps(furnishSteps(fragment), isOver);
  }
  return isOver() ? undefined : rendered(fragment, answer.environment);
}

/** Make the block of code that a piece is. */
function codeOf({ kind, source }) {
  const fragment = document.createDocumentFragment();
  if (kind === "plain") {
    fragment.append(codeElement("", source));
  } else {
    const fence = openingFence(source);
    const end = closingLine(source, fence, fence.length, true)?.[0] ?? source.length;
    fragment.append(codeElement(fence.language, codeBetween(source, fence, end)));
  }
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

/** Make a block of code. */
export function codeElement(language, code) {
  const pre = el("pre", { "data-language": language }, el("code"));
  fillCode(pre.firstChild, language, code);
  return codeBox(pre);
}

/** Show code in an element, in colours as far as they are known. */
export function fillCode(element, language, code) {
  const [coloured, plain] = colours(code, language);
  element.replaceChildren(...(coloured ? [spansOf(coloured)] : []), plain);
}
