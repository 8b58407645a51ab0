// Bringing elements up to date without touching those that stay the same: a selection, a focus and a place to scroll in
// them survive, and nothing flickers.
import { atOnce } from "./heavy.js";
import { isPart } from "./spans.js";

const STEP_ELEMENTS = 40;
const WHOLE = new Set(["h1", "h2", "h3", "h4", "h5", "h6", "math", "p"]); // arranged as a whole for each change

/**
 * Make the neighbouring nodes `old`, which may be none, be those of `fragment`; they stand before `anchor` in `parent`.
 * Returns the nodes that stand there now.
 */
export function patch(parent, old, fragment, anchor) {
  return atOnce(patchSteps(parent, old, fragment, anchor));
}

/** Do the same in steps, each of which adds few elements. */
export function* patchSteps(parent, old, fragment, anchor) {
  const wanted = [...fragment.childNodes];
  const nodes = [];
  old.slice(wanted.length).forEach((node) => node.remove());
  for (const [index, node] of wanted.entries()) {
    nodes.push(index < old.length ? yield* patchNode(old[index], node) : yield* insert(parent, node, anchor));
  }
  return nodes;
}

function* patchNode(old, node) {
  if (old.isEqualNode(node)) {
    return old;
  }
  if (old.nodeType === Node.TEXT_NODE && node.nodeType === Node.TEXT_NODE) {
    if (node.data.startsWith(old.data)) {
      old.appendData(node.data.slice(old.data.length));
    } else {
      old.data = node.data;
    }
    return old;
  }
  if (old.nodeType === Node.ELEMENT_NODE && old.cloneNode().isEqualNode(node.cloneNode?.())) {
    yield* patchSteps(old, [...old.childNodes], node, null);
    return old;
  }
  const placed = yield* insert(old.parentNode, node, old);
  old.remove();
  return placed;
}

/** Insert a node; one that has many elements is inserted empty, and they follow step by step. */
function* insert(parent, node, anchor) {
  const size = node.getElementsByTagName?.("*").length ?? 0;
  if (size <= STEP_ELEMENTS || WHOLE.has(node.localName) || isPart(node)) {
    parent.insertBefore(node, anchor);
    yield size + 1;
    return node;
  }
  const shell = parent.insertBefore(node.cloneNode(false), anchor);
  for (const child of [...node.childNodes]) {
    yield* insert(shell, child, null);
  }
  return shell;
}
