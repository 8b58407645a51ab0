// Blocks of code between ``` or ~~~: found line by line, so that one that is long costs no more than what is added to it.
import { MAX_BLOCK_CHARS } from "./limits.js";
import { languageOf } from "./parser.js";

const OPENING = /^( {0,3})(`{3,}(?=[^`\n]*\n)|~{3,}(?!~))([^\n]*)\n/;

/**
 * Read how a text that begins with a fence opens it; null where it does not, or its first line is not complete.
 * `length` is how long that line is.
 */
export function openingFence(text) {
  const found = OPENING.exec(text);
  if (!found || found[0].length > MAX_BLOCK_CHARS) {
    return null;
  }
  return { indent: found[1].length, mark: found[2], language: languageOf(unescaped(found[3])), length: found[0].length };
}

/**
 * Find the line that closes a fence, from the offset `from` on, which begins a line. Returns [start, end] or null. The last
 * line of the text closes it only when no more text comes (`isEnd`): it might go on.
 */
export function closingLine(text, { mark }, from, isEnd) {
  // No flag m: other characters would end lines as well.
  const closing = new RegExp(`\\n {0,3}\\${mark[0]}{${mark.length},}[ \\t]*${isEnd ? "(?=\\n|$)" : "(?=\\n)"}`, "g");
  closing.lastIndex = from - 1;
  const found = closing.exec(text);
  return found && [found.index + 1, Math.min(text.length, found.index + found[0].length + 1)];
}

/** Return the code between an opening fence and the offset `end`. */
export function codeBetween(text, { indent, length }, end) {
  const code = text.slice(length, end);
  return indent ? code.replace(new RegExp(`(^|\\n) {1,${indent}}`, "g"), "$1") : code;
}

const unescaped = (info) => info.replace(/\\([!-/:-@[-`{-~])/g, "$1");
