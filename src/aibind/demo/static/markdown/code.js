// What of some code has colours, as far as they are known.
import { knownColours, wantsColours } from "./colours.js";
import { MAX_COLOURED_CHARS } from "./limits.js";

/** Return the part of some code that may get colours: whole lines, at the beginning. */
export function colourable(code) {
  return code.length <= MAX_COLOURED_CHARS ? code : code.slice(0, code.lastIndexOf("\n", MAX_COLOURED_CHARS - 1) + 1);
}

/** Whether some code may get colours that it does not have yet. */
export function isUncoloured(code, language) {
  return wantsColours(colourable(code), language);
}

/** Split code into HTML in colours, as far as they are known, and the rest as it is. */
export function colours(code, language) {
  const { html, length } = knownColours(colourable(code), language);
  return [html, code.slice(length)];
}
