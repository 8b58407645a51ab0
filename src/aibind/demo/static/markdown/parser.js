// Markdown as this page reads it: CommonMark with tables, strikethrough, task lists, footnotes, formulas and bare URLs.
// Raw HTML stays text, and pictures become links: a page that fetched them would tell their host who reads what.
import MarkdownIt from "../vendor/markdown-it/markdown-it.js";
import { crowded } from "./crowded.js";
import { footnotes } from "./footnotes.js";
import { MAX_NESTING } from "./limits.js";
import { maths } from "./maths.js";
import { tables } from "./tables.js";
import { tasks } from "./tasks.js";

export const parser = makeParser();

function makeParser() {
  const markdown = new MarkdownIt("commonmark", { html: false, linkify: true, maxNesting: MAX_NESTING });
  markdown.enable(["strikethrough", "linkify"]);
  // A paragraph that is followed by a list would flash up as a heading when the first "-" arrives.
  markdown.disable("lheading");
  tables(markdown);
  tasks(markdown);
  maths(markdown);
  footnotes(markdown);
  crowded(markdown);
  bareUrls(markdown.linkify);
  const { rules } = markdown.renderer;
  const { escapeHtml } = markdown.utils;
  rules.fence = (tokens, index) => codeHtml(tokens[index].content, languageOf(tokens[index].info));
  rules.code_block = (tokens, index) => codeHtml(tokens[index].content, "");
  rules.image = (tokens, index) => {
    const { attrs, content } = tokens[index];
    const href = attrs.find(([name]) => name === "src")?.[1] ?? "";
    return `<a href="${escapeHtml(href)}">${escapeHtml(content || "picture")}</a>`;
  };
  rules.th_open = rules.td_open = cell;
  return markdown;
}

/** Return Markdown as HTML; a text that breaks the parser is shown as it is. */
export function htmlOf(source, environment) {
  try {
    return parser.render(source, environment);
  } catch (error) {
    reportError(error);
    return codeHtml(source, "");
  }
}

/** Return a block of code as HTML. Its colours come later: see furnish.js. */
function codeHtml(code, language) {
  const { escapeHtml } = parser.utils;
  return `<pre data-language="${escapeHtml(language)}"><code>${escapeHtml(code)}</code></pre>\n`;
}

/** Return the language that the line above a block of code names. */
export function languageOf(info) {
  return info.trim().split(/\s/, 1)[0].slice(0, 24);
}

/** Link what begins with http://, https://, mailto: or www., and e-mail addresses, but no file names such as main.py. */
function bareUrls(linkify) {
  linkify.set({ fuzzyLink: false, fuzzyEmail: true, fuzzyIP: false });
  linkify.add("ftp:", null);
  linkify.add("//", null);
  linkify.add("www.", {
    validate: (text, pos, self) => {
      const length = self.testSchemaAt(`http://www.${text.slice(pos)}`, "http:", 5);
      return Math.max(0, length - "//www.".length);
    },
    normalize: (match) => {
      match.url = `http://${match.url}`;
    },
  });
}

/** Render the beginning of a cell: its alignment as an attribute, since inline styles are forbidden. */
function cell(tokens, index, options, env, renderer) {
  const token = tokens[index];
  const style = token.attrs?.find(([name]) => name === "style");
  if (style) {
    token.attrs = [["align", style[1].replace("text-align:", "")]];
  }
  return renderer.renderToken(tokens, index, options);
}
