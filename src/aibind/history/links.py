"""Validation of a tree's links: nodes, roots and the active leaf must form a forest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..errors import MalformedTreeError
from .entry import Entry

__all__ = ["check_links", "walk"]


def check_links(entries: Mapping[str, Entry], root_ids: Sequence[str], active_leaf_id: str | None) -> None:
    """Raise MalformedTreeError unless one path leads from a root to every node, and the active leaf exists.

    The JavaScript check finds missing parents, children and roots, children whose parent is another node, roots with a
    parent, cycles below a root and a missing active leaf. This one is stricter: it also finds a node that its parent
    does not list, a node without a parent that is not listed as a root, children and roots listed twice, and cycles
    that no root leads to. It runs in linear time, without recursion.
    """
    listed = 0
    for entry in entries.values():
        parent_id = entry.parent_id
        if parent_id is not None and parent_id not in entries:
            raise _malformed(f'node "{entry.id}" references missing parent "{parent_id}"')
        children = entry.children
        for child_id in children:
            child = entries.get(child_id)
            if child is None:
                raise _malformed(f'node "{entry.id}" references missing child "{child_id}"')
            if child.parent_id != entry.id:
                raise _malformed(f'child "{child_id}" parentId does not match parent "{entry.id}"')
        if len(children) > 1 and len(set(children)) < len(children):
            raise _malformed(f'node "{entry.id}" lists child "{_repeated(children)}" twice')
        listed += len(children)
    for root_id in root_ids:
        root = entries.get(root_id)
        if root is None:
            raise _malformed(f'rootIds references missing node "{root_id}"')
        if root.parent_id is not None:
            raise _malformed(f'root node "{root_id}" has a parentId')
    if len(set(root_ids)) < len(root_ids):
        raise _malformed(f'rootIds lists "{_repeated(root_ids)}" twice')
    # Every listing is unique and correct so far, so a shortfall means that some node is listed nowhere.
    if listed + len(root_ids) < len(entries):
        raise _malformed(_unlisted(entries, root_ids))
    # Every node is listed exactly once, so a node that no root leads to is part of a cycle or below one.
    reached = {entry.id for entry in walk(entries, root_ids)} if _may_have_cycles(entries) else entries.keys()
    if len(reached) < len(entries):
        lost = next(node_id for node_id in entries if node_id not in reached)
        raise _malformed(f'node "{lost}" is part of a cycle or below one: no root leads to it')
    if active_leaf_id is not None and active_leaf_id not in entries:
        raise _malformed(f'activeLeafId "{active_leaf_id}" does not exist')


def walk(entries: Mapping[str, Entry], start_ids: Sequence[str]) -> Iterator[Entry]:
    """Yield the nodes at and below ``start_ids``, depth first, parents before children."""
    waiting = list(reversed(start_ids))
    while waiting:
        entry = entries[waiting.pop()]
        yield entry
        waiting += reversed(entry.children)


def _may_have_cycles(entries: Mapping[str, Entry]) -> bool:
    """Return whether some node precedes its parent; a tree that was only added to has no such node, and no cycle."""
    seen: set[str | None] = {None}
    for node_id, entry in entries.items():
        if entry.parent_id not in seen:
            return True
        seen.add(node_id)
    return False


def _unlisted(entries: Mapping[str, Entry], root_ids: Sequence[str]) -> str:
    listed = {child_id for entry in entries.values() for child_id in entry.children}.union(root_ids)
    lost = next(entry for entry in entries.values() if entry.id not in listed)
    if lost.parent_id is None:
        return f'node "{lost.id}" has no parent but is not one of rootIds'
    return f'node "{lost.id}" is not listed by its parent "{lost.parent_id}"'


def _repeated(ids: Sequence[str]) -> str:
    return next(node_id for node_id, count in Counter(ids).items() if count > 1)


def _malformed(problem: str) -> MalformedTreeError:
    return MalformedTreeError(f"MessageTree: {problem}")
