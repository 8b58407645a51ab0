// Formulas in Markdown: $…$ and \(…\) in a line, $$…$$ and \[…\] in a line or as a block.
import { MAX_BLOCK_FORMULAS, MAX_MATHS_CHARS } from "./limits.js";
import { mathml } from "./mathml.js";

const CLOSER = { "$$": "$$", "\\[": "\\]", "\\(": "\\)" };
const DISPLAY = new Set(["$$", "\\["]);

/** Let `markdown` know formulas. */
export function maths(markdown) {
  const { escapeHtml } = markdown.utils;
  markdown.inline.ruler.before("escape", "maths", inline);
  markdown.block.ruler.before("fence", "maths_block", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
  const formula = ({ content, markup }, env) => {
    env.formulas = (env.formulas ?? 0) + 1;
    const html = env.formulas > MAX_BLOCK_FORMULAS ? "" : mathml(content, DISPLAY.has(markup));
    return html || `<code>${escapeHtml(markup + content + (CLOSER[markup] ?? markup))}</code>`;
  };
  markdown.renderer.rules.maths = (tokens, index, _, env) => formula(tokens[index], env);
  markdown.renderer.rules.maths_block = (tokens, index, _, env) => `<div class="maths">${formula(tokens[index], env)}</div>\n`;
}

function inline(state, silent) {
  const { src, pos, posMax } = state;
  const opener = src.slice(pos, pos + 2);
  const found = CLOSER[opener] ? closed(src, pos, opener, posMax) : src[pos] === "$" && dollars(src, pos, posMax);
  if (!found) {
    return false;
  }
  if (!silent) {
    const token = state.push("maths", "math", 0);
    token.markup = found.markup;
    token.content = found.content;
  }
  state.pos = found.end;
  return true;
}

function closed(src, pos, opener, max) {
  const text = src.slice(pos + 2, Math.min(max, pos + 2 + MAX_MATHS_CHARS));
  const end = text.indexOf(CLOSER[opener]);
  const content = text.slice(0, Math.max(0, end));
  return content.trim() && !(opener === "$$" && content.includes("`")) ? { markup: opener, content: content.trim(), end: pos + end + 4 } : null;
}

/**
 * Read $…$. So that prices stay prices, no space follows the first dollar or precedes the second, no letter or digit
 * precedes the first, and no digit follows the second.
 */
function dollars(src, pos, max) {
  if (pos > 0 && /[\w$\\]/.test(src[pos - 1])) {
    return null;
  }
  const limit = Math.min(max, pos + MAX_MATHS_CHARS);
  let end = pos + 1;
  while (end < limit && src[end] !== "$") {
    if (src[end] === "`") {
      return null;
    }
    end += src[end] === "\\" ? 2 : 1;
  }
  const content = src.slice(pos + 1, end);
  const isFormula = end < limit && content !== "" && content.trim() === content && !/[\d$]/.test(src[end + 1] ?? "");
  return isFormula ? { markup: "$", content, end: end + 1 } : null;
}

/**
 * Read a formula that begins a line and ends one. One that is not closed before the next empty line is a paragraph: then
 * it is clear as soon as that line comes, whatever follows, where the formula ends.
 */
function block(state, start, end, silent) {
  if (state.sCount[start] - state.blkIndent >= 4) {
    return false;
  }
  const text = (line) => state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]).trimEnd();
  const first = text(start);
  const opener = first.slice(0, 2);
  if (!DISPLAY.has(opener) || first[2] === "$") {
    return false;
  }
  const closer = CLOSER[opener];
  const at = first.indexOf(closer, 2);
  if (at >= 0 && at + 2 < first.length) {
    return false; // there is more on the line: the paragraph has it
  }
  if (silent) {
    return true;
  }
  let line = start;
  let isClosed = at >= 0;
  while (!isClosed && line + 1 < end && !state.isEmpty(line + 1) && state.sCount[line + 1] >= state.blkIndent) {
    line += 1;
    isClosed = text(line).endsWith(closer);
  }
  const lines = Array.from({ length: line - start + 1 }, (_, index) => text(start + index)).join("\n");
  const content = lines.slice(2, -2).trim();
  state.line = line + 1;
  if (isClosed && content) {
    const token = state.push("maths_block", "math", 0);
    token.markup = opener;
    token.content = content;
    token.map = [start, state.line];
  } else {
    state.push("paragraph_open", "p", 1).map = [start, state.line];
    const token = state.push("inline", "", 0);
    token.content = lines;
    token.map = [start, state.line];
    token.children = [];
    state.push("paragraph_close", "p", -1);
  }
  return true;
}
