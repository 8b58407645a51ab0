// HTML in slices, so that a long text becomes elements step by step.
import { sanitise } from "./sanitise.js";

const SLICE_TAGS = 60;
const SLICE_CHARS = 16 * 1024;
const WHOLE = new Set(["a", "math", "pre", "section", "sup"]);
const VOID = new Set(["br", "hr", "input"]);
const TAG = /<(\/?)([a-z][a-z0-9]*)[^>]*>/g;

/** Cut the parser's HTML between tags. Each slice opens again what was open where it begins: that many elements. */
function* slices(html) {
  const open = [];
  const tag = new RegExp(TAG);
  let start = 0;
  let tags = 0;
  let again = [];
  for (let found; (found = tag.exec(html)); ) {
    const [text, closes, name] = found;
    if (!closes && (tags >= SLICE_TAGS || found.index - start >= SLICE_CHARS)) {
      yield { html: again.map((each) => each.text).join("") + html.slice(start, found.index), depth: again.length };
      start = found.index;
      tags = 0;
      again = [...open];
    }
    tags += 1;
    if (closes) {
      open.pop();
    } else if (WHOLE.has(name)) {
      const end = html.indexOf(`</${name}>`, tag.lastIndex);
      tag.lastIndex = end < 0 ? html.length : end + name.length + 3;
      tags += Math.ceil((tag.lastIndex - found.index) / 40);
    } else if (!VOID.has(name)) {
      open.push({ text });
    }
  }
  yield { html: again.map((each) => each.text).join("") + html.slice(start), depth: again.length };
}

/** Make a fragment of HTML, in steps. */
export function* sanitiseSteps(html) {
  const whole = document.createDocumentFragment();
  for (const slice of slices(html)) {
    join(whole, sanitise(`<div>${slice.html}</div>`).firstChild, slice.depth);
    yield SLICE_TAGS;
  }
  return whole;
}

/** Append the children of `more` to `whole`; where the first is the rest of the last one there, also within it. */
function join(whole, more, depth) {
  const first = more.firstChild;
  if (depth && whole.lastChild && first?.nodeName === whole.lastChild.nodeName) {
    join(whole.lastChild, first, depth - 1);
    first.remove();
  }
  whole.append(...more.childNodes);
}
