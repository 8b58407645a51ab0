"""The union of two trees."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import MalformedTreeError
from .entry import Entry

__all__ = ["missing_from"]


def missing_from(ours: Mapping[str, Entry], theirs: Mapping[str, Entry], left_out: Collection[str]) -> dict[str, Entry]:
    """Return the nodes that only ``theirs`` has, in its order, without those ``left_out`` that no kept node is below.

    Raises MalformedTreeError when a node differs between the two sides in more than when each created it: an id stands
    for one node, which never changes.
    """
    wanted: set[str] = set()
    for node_id, entry in theirs.items():
        known = ours.get(node_id)
        if known is not None:
            if not known.is_same_as(entry):
                raise MalformedTreeError(f'MessageTree: node "{node_id}" is not the same in both trees')
        elif node_id not in left_out:
            # Its ancestors come along, up to the first that is already ours or wanted.
            above: str | None = node_id
            while above is not None and above not in ours and above not in wanted:
                wanted.add(above)
                above = theirs[above].parent_id
    return {node_id: entry.without_children() for node_id, entry in theirs.items() if node_id in wanted}
