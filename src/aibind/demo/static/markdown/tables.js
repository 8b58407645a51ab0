// Tables, as far as their size is bounded: a few characters can make millions of cells, since each row is filled up to
// the width of the head.
import MarkdownIt from "../vendor/markdown-it/markdown-it.js";
import { MAX_ADDED_CELLS, MAX_TABLE_CELLS } from "./limits.js";

const [table] = new MarkdownIt("zero").enable("table").block.ruler.getRules("");

/** Use tables in `markdown`, each of which ends where it becomes too large; its further rows are a paragraph. */
export function tables(markdown) {
  markdown.enable("table");
  markdown.block.ruler.at("table", (state, start, end, silent) => table(state, start, lastLine(state, start, end), silent), {
    alt: ["paragraph", "reference"],
  });
}

/** Find where a table that begins at `start` has to end. Rows are counted one by one, so text to come changes nothing. */
function lastLine(state, start, end) {
  if (start + 2 > end || !line(state, start).includes("|") || !/^[\s|:>-]*-[\s|:>-]*$/.test(line(state, start + 1))) {
    return end; // the first line of a table has a bar, and the second is made of dashes
  }
  const columns = bars(line(state, start)) + 1;
  let cells = 2 * columns;
  let added = 0;
  let next = start + 2;
  for (; next < end && !state.isEmpty(next); next += 1) {
    cells += columns;
    added += Math.max(0, columns - 1 - bars(line(state, next)));
    if (cells > MAX_TABLE_CELLS || added > MAX_ADDED_CELLS) {
      return next;
    }
  }
  return end;
}

const line = (state, number) => state.src.slice(state.bMarks[number] + state.tShift[number], state.eMarks[number]);
const bars = (text) => text.split("|").length - 1;
