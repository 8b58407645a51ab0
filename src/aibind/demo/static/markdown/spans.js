// Code in colours, from the highlighter's HTML to elements. That HTML is made of nothing but spans with classes and of
// text, and so is what comes of it: nothing else is ever made, whatever it holds. The sanitiser takes ten times as long.
import { el } from "../dom.js";

const PART = /<span class="([\w .-]*)">|<\/span>|&(amp|lt|gt|quot|#x27);|[^<&]+|[<&]/g;
const CHARACTERS = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'" };

/** Make a fragment of the highlighter's HTML. */
export function spansOf(html) {
  const fragment = document.createDocumentFragment();
  const open = [fragment];
  let text = "";
  const flush = () => {
    if (text) {
      open.at(-1).append(text);
      text = "";
    }
  };
  for (const [part, name, entity] of html.matchAll(PART)) {
    if (name !== undefined) {
      flush();
      const span = el("span", { class: name });
      open.at(-1).append(span);
      open.push(span);
    } else if (part === "</span>" && open.length > 1) {
      flush();
      open.pop();
    } else {
      text += entity ? CHARACTERS[entity] : part;
    }
  }
  flush();
  return fragment;
}
