"""The changes of a tree since it was loaded from a store or saved to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .entry import Entry

__all__ = ["ChangeLog", "TreeChanges"]


@dataclass(frozen=True, slots=True)
class TreeChanges:
    """The part of a tree that a store lacks.

    ``added`` are the new nodes, in the tree's order. ``removed`` has the ids of nodes that were removed, whether or not
    the store has them. ``active_leaf_id`` is the end of the current path, and ``stored_leaf_id`` what the store has in
    its place. ``compacted`` tells whether one of the added nodes replaces all nodes that the store had at ``mark``, a
    number of the store's.
    """

    added: tuple[Entry, ...]
    removed: tuple[str, ...]
    active_leaf_id: str | None
    stored_leaf_id: str | None
    compacted: bool
    mark: int

    @property
    def is_empty(self) -> bool:
        """Whether the store lacks nothing."""
        return not (self.added or self.removed or self.compacted) and self.active_leaf_id == self.stored_leaf_id


class ChangeLog:
    """The ids that were added to and removed from a tree since the session ``origin`` of a store had all of it.

    To a store that the tree was neither loaded from nor saved to, all of it is new.
    """

    __slots__ = ("_added", "_compacted", "_mark", "_origin", "_removed", "_stored_leaf_id")

    def __init__(self) -> None:
        self._origin: object = None
        self._mark = 0
        self._stored_leaf_id: str | None = None
        self._added: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._compacted = False

    def add(self, node_id: str) -> None:
        """Note that a node was added."""
        if self._origin is not None:
            self._added[node_id] = None

    def remove(self, node_id: str) -> None:
        """Note that a node was removed."""
        if self._origin is not None:
            self._removed[node_id] = None

    def compact(self, node_id: str) -> None:
        """Note that one node replaced all others."""
        self._added.clear()
        self._removed.clear()
        self._compacted = self._origin is not None
        self.add(node_id)

    def start(self, origin: object, stored_leaf_id: str | None, mark: int) -> None:
        """Begin to note changes: the session ``origin`` has all of the tree."""
        self._origin = origin
        self._mark = mark
        self._added.clear()
        self._removed.clear()
        self._compacted = False
        self._stored_leaf_id = stored_leaf_id

    def follows(self, origin: object) -> bool:
        """Return whether changes are noted for the session ``origin``."""
        return self._origin is not None and origin == self._origin

    def since(self, origin: object, entries: Mapping[str, Entry], active_leaf_id: str | None) -> TreeChanges:
        """Return what the session ``origin`` lacks, and begin to note changes for it."""
        if not self.follows(origin):
            self.start(origin, None, 0)
            self._added = dict.fromkeys(entries)
        return TreeChanges(
            tuple(entries[node_id] for node_id in self._added if node_id in entries),
            tuple(self._removed),
            active_leaf_id,
            self._stored_leaf_id,
            self._compacted,
            self._mark,
        )

    def saved(self, origin: object, changes: TreeChanges, mark: int) -> None:
        """Note that the session ``origin`` has ``changes``; what was changed meanwhile is still to be saved."""
        if not self.follows(origin):
            return
        for entry in changes.added:
            self._added.pop(entry.id, None)
        for node_id in changes.removed:
            self._removed.pop(node_id, None)
        self._compacted = self._compacted and not changes.compacted
        self._stored_leaf_id = changes.active_leaf_id
        self._mark = mark
