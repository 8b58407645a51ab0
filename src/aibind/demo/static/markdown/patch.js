// Bringing elements up to date without touching those that stay the same: a selection, a focus and a place to scroll in
// them survive, and nothing flickers.

/**
 * Make the neighbouring nodes `old`, which may be none, be those of `fragment`; they stand before `anchor` in `parent`.
 * Returns the nodes that stand there now.
 */
export function patch(parent, old, fragment, anchor) {
  const wanted = [...fragment.childNodes];
  old.slice(wanted.length).forEach((node) => node.remove());
  return wanted.map((node, index) => {
    if (index < old.length) {
      return patchNode(old[index], node);
    }
    parent.insertBefore(node, anchor);
    return node;
  });
}

function patchNode(old, node) {
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
    patch(old, [...old.childNodes], node, null);
    return old;
  }
  old.replaceWith(node);
  return node;
}
