// Where blocks of Markdown end.
import { parser } from "./parser.js";

/**
 * Find where the blocks of some lines end, but for the last one. The address of a link, "[label]: https://…", belongs to
 * the block after it: what seems to be that block's first line may yet be the rest of its title.
 */
export function endsOfBlocks(text) {
  const tokens = [];
  parser.block.parse(text, parser, { references: {}, footnotes: {} }, tokens);
  const starts = [];
  for (let at = 0; at >= 0 && at < text.length; at = text.indexOf("\n", at) + 1 || -1) {
    starts.push(at);
  }
  const blocks = tokens.filter(({ level, nesting, type }) => level === 0 && nesting >= 0 && type !== "reference_definition");
  const lastLines = blocks.map(({ map }) => map[1]);
  return lastLines.slice(0, -1).map((line) => starts[line] ?? text.length);
}
