// TeX as MathML, by Temml.
import temml from "../vendor/temml/temml.js";
import { MAX_MACRO_MATHS_CHARS, MAX_MATHML_CHARS, MAX_MATHS_CHARS } from "./limits.js";

const DEFINES = /\\(?:[gex]?def|let|futurelet|(?:re|provide)?newcommand|providecommand|renewcommand)(?![a-zA-Z])/;
const MAX_CACHED = 500;
const cache = new Map(); // an open block is rendered again and again

/**
 * Return the MathML of a formula, or "" when it is none or too large. Temml's inline styles come as the attribute
 * data-style: the page's policy forbids the attribute style, and the sanitiser checks them one by one.
 */
export function mathml(tex, isDisplay) {
  const key = `${isDisplay}${tex}`;
  let html = cache.get(key);
  if (html === undefined) {
    html = render(tex, isDisplay);
    if (cache.size >= MAX_CACHED) {
      cache.delete(cache.keys().next().value);
    }
    cache.set(key, html);
  }
  return html;
}

function render(tex, isDisplay) {
  const defines = DEFINES.test(tex);
  if (tex.length > (defines ? MAX_MACRO_MATHS_CHARS : MAX_MATHS_CHARS)) {
    return "";
  }
  try {
    const html = temml.renderToString(tex, {
      displayMode: isDisplay,
      throwOnError: true,
      trust: false,
      maxSize: [20, 200],
      maxExpand: defines ? 50 : 1000,
    });
    return html.length > MAX_MATHML_CHARS ? "" : html.replaceAll(' style="', ' data-style="');
  } catch {
    return ""; // not TeX, or nested too deeply: its source is shown
  }
}
