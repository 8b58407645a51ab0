"""Saving a tree by joining the texts of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .entry import Entry
from .json import index_keys_first, quote

__all__ = ["write_tree"]


def write_tree(entries: Mapping[str, Entry], root_ids: Sequence[str], active_leaf_id: str | None, unknown: str) -> str:
    """Return the JSON of a tree; ``unknown`` holds members to append, each with a comma before it."""
    parts = ['{"version":1,"nodes":{']
    # In JavaScript the nodes are members of an object, where ids like "7" come first.
    in_order = index_keys_first(entries)
    for entry in entries.values() if in_order is None else map(entries.__getitem__, in_order):
        parts += (entry.head, _join(entry.children), entry.tail, ",")
    if entries:
        parts.pop()  # the last comma
    active = "null" if active_leaf_id is None else quote(active_leaf_id)
    parts += ('},"rootIds":[', _join(root_ids), '],"activeLeafId":', active, unknown, "}")
    return "".join(parts)


def _join(ids: Iterable[str]) -> str:
    return ",".join(map(quote, ids))
