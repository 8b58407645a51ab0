// The end of a text that grows may turn out to be something else: what is left out until that is clear.

const MAYBE_A_BLOCK = /^\s*(?:\||`{1,3}[^`]*$|~{1,3}[^~]*$|#{1,6}\s*$|[-*+>=_]{1,3}\s*$|\d{1,9}[.)]?\s*$|[-*+]\s+\[[ xX]?\]?\s*$|\[\^[^\]]*\]?$|\\$|\${1,2}$)/;
const MAYBE_MARKUP = /(?:\*{1,3}|_{1,3}|~{1,2}|`{1,3}|\\|\$|!?\[\^?|!?\[[^[\]\n]{0,200}\](?:\([^()\s]{0,2000})?)$/;
const HEAD_OF_A_TABLE = /(^|\n\n)\|[^\n]*\n?$/; // it is a paragraph until the line below it is complete

/** Leave off the end of a block of Markdown that may yet be the beginning of something else. */
export function withoutPending(text) {
  const end = text.lastIndexOf("\n") + 1;
  const isOpen = (line) => MAYBE_A_BLOCK.test(line) || MAYBE_A_BLOCK.test(line.replace(MAYBE_MARKUP, ""));
  const kept = isOpen(text.slice(end)) ? text.slice(0, end) : text.replace(MAYBE_MARKUP, "");
  return kept.replace(HEAD_OF_A_TABLE, "$1");
}

/** Leave off the last line of code that may yet be the line that closes it. */
export function withoutPendingFence(code) {
  const last = code.lastIndexOf("\n") + 1;
  return /^ {0,3}(?:(?:`+|~+)[ \t]*)?$/.test(code.slice(last)) ? code.slice(0, last) : code;
}
