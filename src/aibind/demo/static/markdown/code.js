// Code with its colours, by highlight.js.
import hljs from "../vendor/highlight.js/highlight.js";
import { MAX_COLOURED_CHARS } from "./limits.js";

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text) => text.replace(/[&<>"]/g, (character) => ESCAPES[character]);

/** Split code in what gets colours and what does not: whole lines, at the beginning, where the language is known. */
export function colourable(code, language) {
  if (!hljs.getLanguage(language)) {
    return ["", code];
  }
  const end = code.length <= MAX_COLOURED_CHARS ? code.length : code.lastIndexOf("\n", MAX_COLOURED_CHARS - 1) + 1;
  return [code.slice(0, end), code.slice(end)];
}

/** Return code as HTML in colours; the language must be known. */
export function colours(code, language) {
  return code && hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

/** Return a block of code as HTML. */
export function codeHtml(code, language) {
  const [coloured, plain] = colourable(code, language);
  return `<pre data-language="${escape(language)}"><code>${colours(coloured, language)}${escape(plain)}</code></pre>\n`;
}
