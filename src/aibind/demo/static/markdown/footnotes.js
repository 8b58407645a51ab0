// Footnotes: [^label] and "[^label]: text", by the rules of markdown-it-footnote. The numbers and the list at the end are
// the page's, as the text may still grow (see notes.js).
import footnotePlugin from "../vendor/markdown-it-footnote/markdown-it-footnote.js";

/** Take the plugin's rules, which it would put where they do not fit here. */
function rulesOf({ helpers, utils }) {
  const rules = {};
  const ruler = { before: (_, name, rule) => (rules[name] = rule), after: (_, name, rule) => (rules[name] = rule) };
  footnotePlugin({ helpers, utils, renderer: { rules: {} }, block: { ruler }, inline: { ruler }, core: { ruler } });
  return rules;
}

/**
 * Let `markdown` know footnotes. `env.footnotes.refs` says which labels there are; the labels that a block refers to are
 * left in `env.noteRefs`, those that it defines in `env.noteDefinitions`, and the HTML names them by their index there.
 */
export function footnotes(markdown) {
  const rules = rulesOf(markdown);
  const definition = (state, start, end, silent) => {
    const first = state.tokens.length;
    const found = rules.footnote_def(state, start, end, silent);
    if (found && !silent) {
      state.tokens[first].map = [start, state.line];
    }
    return found;
  };
  markdown.block.ruler.before("reference", "footnote_def", definition, { alt: ["paragraph", "reference"] });
  markdown.inline.ruler.after("image", "footnote_ref", rules.footnote_ref);
  const rendered = markdown.renderer.rules;
  rendered.footnote_ref = (tokens, index, _, env) => `<sup data-note="${env.noteRefs.push(tokens[index].meta.label) - 1}"></sup>`;
  rendered.footnote_reference_open = (tokens, index, _, env) =>
    `<section data-note="${env.noteDefinitions.push(tokens[index].meta.label) - 1}">`;
  rendered.footnote_reference_close = () => "</section>\n";
}
