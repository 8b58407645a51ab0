// Elements within one paragraph, as far as their number is bounded: a browser arranges all of them at once.
import { MAX_INLINE_ELEMENTS } from "./limits.js";

const WEIGHTS = { maths: 4, footnote_ref: 2, code_inline: 1, image: 1, hardbreak: 1 };

/** Let `markdown` show what comes after so many elements as text, without their formats. */
export function crowded(markdown) {
  markdown.core.ruler.after("linkify", "crowded", ({ tokens, Token }) => {
    for (const token of tokens) {
      if (token.type === "inline" && token.children.length > MAX_INLINE_ELEMENTS / 4) {
        token.children = bounded(token.children, Token);
      }
    }
  });
}

function bounded(children, Token) {
  const open = []; // whether each element that is open is kept
  let weight = 0;
  return children.map((token) => {
    if (token.nesting < 0) {
      return open.pop() ? token : plain(token, Token);
    }
    const own = token.nesting > 0 ? 1 : (WEIGHTS[token.type] ?? 0);
    weight += own;
    const isKept = weight <= MAX_INLINE_ELEMENTS || own === 0;
    if (token.nesting > 0) {
      open.push(isKept);
    }
    return isKept ? token : plain(token, Token);
  });
}

/** Make text of a token. */
function plain({ type, content, markup, meta, attrs }, Token) {
  const text = new Token("text", "", 0);
  if (type === "footnote_ref") {
    text.content = `[^${meta.label}]`;
  } else if (type === "hardbreak") {
    text.content = "\n";
  } else if (type === "link_open") {
    text.content = markup ? "" : `${attrs.find(([name]) => name === "href")[1]} `;
  } else if (type === "link_close" || type === "image") {
    text.content = content;
  } else {
    text.content = content ? `${markup}${content}${markup}` : markup;
  }
  return text;
}
