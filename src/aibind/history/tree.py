"""MessageTree: every message of a conversation, alternatives included, and its current path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from operator import itemgetter
from typing import Any, Self, TypeAlias
from uuid import uuid4

from ..errors import HistoryError, MalformedTreeError, NodeNotFoundError, PartialHistoryError
from .changes import ChangeLog, TreeChanges
from .entry import Entry, new_entry
from .json import decode_at, encode, encode_object
from .links import check_links, walk
from .merge import missing_from
from .node import Siblings, TreeNode, TreePath
from .reader import read_nodes, read_tree
from .writer import write_tree

__all__ = ["GenerateId", "MessageTree"]

GenerateId: TypeAlias = Callable[[], str]
"""A function that returns the id of the next message: a string that the tree does not have yet."""


def random_id() -> str:
    """Return a random UUID (version 4), as JavaScript's ``crypto.randomUUID`` does."""
    return str(uuid4())


class MessageTree:
    """A forest of messages, in which one path, from a root to the active leaf, is the current conversation.

    A message in the tree never changes: another version of it is a sibling. Messages and metadata are JSON objects,
    copied on the way in and on the way out. A message that is not valid JSON raises HistoryError and leaves the tree
    unchanged.

    No operation recurses, and building, saving and restoring a tree take time in proportion to its messages, so that a
    chain of 100,000 messages works like any other tree.

    A tree that a store loaded in part (see :attr:`is_partial`) holds the end of one path. Messages can be added to it,
    made active and read. Whatever would need the rest raises PartialHistoryError: alternatives, leaves, roots, sizes,
    removing, merging and saving as JSON.
    """

    def __init__(self, *, generate_id: GenerateId | None = None) -> None:
        self._generate_id = generate_id or random_id
        self._entries: dict[str, Entry] = {}
        self._root_ids: list[str] = []
        self._active_leaf_id: str | None = None
        self._unknown = ""
        self._replaced: set[str] = set()
        self._log = ChangeLog()
        self._partial = False
        self._beyond: dict[str, list[str]] = {}  # the children, as far as they are here, of messages that are not

    def __repr__(self) -> str:
        part = " partial" if self._partial else ""
        return f"<MessageTree{part} size={len(self._entries)} active_leaf_id={self._active_leaf_id!r}>"

    # --- what is there ---

    @property
    def is_partial(self) -> bool:
        """Whether a store loaded only a part of the tree: its end of one path, and not all that is beside it."""
        return self._partial

    @property
    def size(self) -> int:
        """The number of messages, alternatives included."""
        self._require_whole("counting messages")
        return len(self._entries)

    @property
    def is_empty(self) -> bool:
        """Whether the tree has no messages."""
        return not self._entries

    @property
    def root_ids(self) -> tuple[str, ...]:
        """The ids of the messages that begin a conversation, oldest first."""
        self._require_whole("listing roots")
        return tuple(self._root_ids)

    @property
    def active_leaf_id(self) -> str | None:
        """The id of the message that ends the current conversation; None when the tree is empty.

        It is usually a leaf; after :meth:`set_active_leaf` or :meth:`merge` it may have children.
        """
        return self._active_leaf_id

    def has(self, node_id: str) -> bool:
        """Return whether the tree has a message with this id; of a partial tree: whether it was loaded."""
        return node_id in self._entries

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._entries

    def get(self, node_id: str) -> TreeNode | None:
        """Return a snapshot of a message and its place in the tree; None when there is no such message.

        In a partial tree, ``children`` are those that were loaded.
        """
        entry = self._entries.get(node_id)
        return entry.to_node() if entry else None

    def get_leaves(self) -> tuple[TreeNode, ...]:
        """Return the messages without children, depth first: the ends of all paths through the tree."""
        self._require_whole("finding leaves")
        return tuple(entry.to_node() for entry in walk(self._entries, self._root_ids) if not entry.children)

    def depth(self, node_id: str) -> int:
        """Return the number of messages above this one: 0 for a root."""
        self._require_whole("measuring depth")
        return sum(1 for _ in self._upwards(self._entry(node_id))) - 1

    def has_more_above(self, node_id: str) -> bool:
        """Return whether the path to a message begins above what a store has loaded of it."""
        *_, top = self._upwards(self._entry(node_id))
        return top.parent_id is not None

    def get_path_to(self, node_id: str, *, limit: int | None = None) -> TreePath:
        """Return the path from a root down to this message; ``limit`` keeps only that many messages at its end.

        Of a partial tree it is the loaded part of the path; :meth:`has_more_above` tells whether that is all of it.
        """
        entries = list(islice(self._upwards(self._entry(node_id)), limit))
        entries.reverse()
        return TreePath(tuple(entry.message for entry in entries), tuple(entry.id for entry in entries))

    def get_active_path(self, *, limit: int | None = None) -> TreePath:
        """Return the current conversation, as :meth:`get_path_to` returns any path."""
        if self._active_leaf_id is None:
            return TreePath((), ())
        if self._partial and self._active_leaf_id not in self._entries:
            self._require_whole("the current path, which is another,")
        return self.get_path_to(self._active_leaf_id, limit=limit)

    def get_siblings(self, node_id: str) -> Siblings:
        """Return a message and its alternatives (for a root: the roots), oldest first."""
        ids = self.get_sibling_ids(node_id)
        return Siblings(tuple(self._entries[sibling_id].to_node() for sibling_id in ids), ids.index(node_id))

    def get_sibling_ids(self, node_id: str) -> tuple[str, ...]:
        """Return the ids of a message and its alternatives, without decoding any message."""
        self._require_whole("finding alternatives")
        return tuple(self._children_of(self._entry(node_id).parent_id))

    # --- adding ---

    def append(
        self, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, node_id: str | None = None
    ) -> str:
        """Add a message below the active leaf (a root when there is none), make it active and return its id.

        ``node_id`` is the id that it gets (None: a generated one). Raises HistoryError when the tree has it already.
        """
        return self._activate(self._add(self._active_leaf_id, message, metadata, node_id))

    def add_root(self, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Begin another conversation with this message, make it active and return its id."""
        return self._activate(self._add(None, message, metadata))

    def add_child(
        self,
        parent_id: str,
        message: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        node_id: str | None = None,
    ) -> str:
        """Add a message below another, after its other children, and return its id; the active leaf is unchanged.

        ``node_id`` is its id, where two processes that add the same message must agree on one; None generates one.
        """
        self._entry(parent_id)
        return self._add(parent_id, message, metadata, node_id)

    def branch(self, parent_id: str, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Add a message below another, make it active and return its id."""
        return self._activate(self.add_child(parent_id, message, metadata))

    def add_sibling(
        self,
        node_id: str,
        message: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        sibling_id: str | None = None,
    ) -> str:
        """Add another version of a message (of a root: a root), make it active and return its id.

        ``sibling_id`` is the id that it gets (None: a generated one).
        """
        return self._activate(self._add(self._entry(node_id).parent_id, message, metadata, sibling_id))

    # --- moving about ---

    def set_active_leaf(self, node_id: str) -> None:
        """Make the path to this message the current conversation."""
        self._activate(self._entry(node_id).id)

    def next_sibling(self, node_id: str) -> str | None:
        """Switch to the next version of a message: the leaf below it, along first children, becomes the active one.

        Returns that leaf's id; None, and nothing changes, when there is no next version.
        """
        return self._step(node_id, 1)

    def prev_sibling(self, node_id: str) -> str | None:
        """Switch to the previous version of a message, as :meth:`next_sibling` does to the next."""
        return self._step(node_id, -1)

    # --- removing ---

    def remove(self, node_id: str) -> None:
        """Remove a message and everything below it.

        When that includes the active leaf, the parent's last remaining child (for a root: the last remaining root) is
        followed along first children to the new active leaf; without one, the parent becomes the active leaf.
        """
        self._require_whole("removing messages")
        parent_id = self._entry(node_id).parent_id
        for entry in list(walk(self._entries, (node_id,))):
            del self._entries[entry.id]
            self._log.remove(entry.id)
        siblings = self._children_of(parent_id)
        siblings.remove(node_id)
        if self._active_leaf_id is not None and self._active_leaf_id not in self._entries:
            self._active_leaf_id = self._first_leaf(siblings[-1]) if siblings else parent_id

    def clear(self) -> None:
        """Remove every message."""
        self._require_whole("removing messages")
        for node_id in self._entries:
            self._log.remove(node_id)
        self._entries.clear()
        self._root_ids.clear()
        self._active_leaf_id = None

    def replace_all(self, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Replace all messages with one that stands for them, and return its id.

        They are removed once the new message is added. During the life of this object, :meth:`merge` does not bring
        them back, except those that the other tree continued from.
        """
        node_id = self.add_root(message, metadata)
        entry = self._entries.pop(node_id)
        self._replaced.update(self._entries)
        self._entries, self._root_ids = {node_id: entry}, [node_id]
        self._beyond.clear()
        self._log.compact(node_id)
        return node_id

    # --- merging ---

    def merge(self, other: MessageTree) -> int:
        """Add every message that only ``other`` has, and return their number; ``other`` is unchanged.

        Nodes never change, so two copies of a conversation that diverged have exactly one union, and no turn is lost.
        The children and roots of this tree keep their order, and those of ``other`` follow in theirs. The active leaf
        stays; an empty tree takes that of ``other``. Merging the same tree again changes nothing.

        Removing leaves no trace: a message that one side removed comes back from the other. Only messages removed by
        :meth:`replace_all` stay away, as described there.

        Of a node that both created, ours stays, with its time. Raises MalformedTreeError, and adds nothing, when it
        differs between the two trees in anything else.
        """
        self._require_whole("merging")
        other._require_whole("merging")
        missing = missing_from(self._entries, other._entries, self._replaced)
        if self.is_empty and other._active_leaf_id in missing:
            self._active_leaf_id = other._active_leaf_id
        self._entries.update(missing)
        for node_id in missing:
            self._log.add(node_id)
        self._root_ids += [root_id for root_id in other._root_ids if root_id in missing]
        for entry in other._entries.values():
            added = [child_id for child_id in entry.children if child_id in missing]
            if added:
                self._entries[entry.id].children += added
        return len(missing)

    # --- saving ---

    def to_json(self) -> str:
        """Return the tree as JSON, byte for byte what ``JSON.stringify`` prints for the JavaScript one."""
        self._require_whole("saving as JSON")
        return write_tree(self._entries, self._root_ids, self._active_leaf_id, self._unknown)

    @classmethod
    def from_json(cls, text: str, *, generate_id: GenerateId | None = None) -> Self:
        """Read a tree that was written by :meth:`to_json` or by JavaScript.

        Raises MalformedTreeError when the text is not JSON, or not a complete and consistent tree. In addition to what
        JavaScript checks, every node must be listed once where it belongs, every field must have its type, ids must
        match their keys, and no key may appear twice. Unknown fields are kept.
        """
        saved = read_tree(text)
        check_links(saved.entries, saved.root_ids, saved.active_leaf_id)
        tree = cls(generate_id=generate_id)
        tree._entries = saved.entries
        tree._root_ids = saved.root_ids
        tree._active_leaf_id = saved.active_leaf_id
        tree._unknown = saved.unknown
        return tree

    def serialize(self) -> dict[str, Any]:
        """Return the tree as a dict, decoded from :meth:`to_json`, for embedding in a larger JSON value."""
        data: dict[str, Any] = decode_at(self.to_json(), 0)[0]
        return data

    @classmethod
    def deserialize(cls, data: Mapping[str, Any], *, generate_id: GenerateId | None = None) -> Self:
        """Read a tree from the dict of :meth:`serialize`. Raises MalformedTreeError as :meth:`from_json` does."""
        try:
            text = encode(data, "tree")
        except HistoryError as error:
            raise MalformedTreeError(f"MessageTree: {error}") from error
        return cls.from_json(text, generate_id=generate_id)

    # --- for stores ---

    @property
    def unknown(self) -> str:
        """The JSON text of the saved tree's members that this version does not know, each after a comma."""
        return self._unknown

    def unsaved(self, origin: object, *, whole: bool = False) -> TreeChanges:
        """Return what a session of a store lacks of the tree, since it was loaded from there or saved there.

        ``origin`` identifies the session and its store, and is compared by value. To any other one all nodes are new,
        and with ``whole`` to this one too. Then PartialHistoryError is raised for a partial tree.
        """
        if whole or not self._log.follows(origin):
            self._require_whole("saving in another session or store, or again")
        changes = self._log.since(origin, self._entries, self._active_leaf_id)
        return replace(changes, added=tuple(self._entries.values())) if whole else changes

    def mark_saved(self, origin: object, changes: TreeChanges, mark: int = 0) -> None:
        """Note that a session has ``changes``. What was changed since :meth:`unsaved` returned them is still unsaved.

        ``mark`` is any number that the store wants back in :attr:`TreeChanges.mark`.
        """
        self._log.saved(origin, changes, mark)

    @classmethod
    def restore(
        cls,
        nodes: Iterable[tuple[str, int]],
        active_leaf_id: str | None,
        unknown: str = "",
        *,
        origin: object,
        mark: int = 0,
        partial: bool = False,
    ) -> Self:
        """Return the tree of nodes that a store kept one by one, of which ``origin`` has all.

        ``nodes`` are, in the tree's order, the texts that :attr:`Entry.text` returns, each with a number that orders
        siblings. With ``partial`` they need not be all. Raises MalformedTreeError as :meth:`from_json` does.
        """
        texts: list[str] = []
        places: list[int] = []
        for text, place in nodes:
            texts.append(text)
            places.append(place)
        tree = cls()
        tree._partial = partial
        tree._entries = read_nodes(texts)
        if len(tree._entries) != len(places):
            raise MalformedTreeError("MessageTree: a row holds more than one node")
        for entry, _ in sorted(zip(tree._entries.values(), places, strict=True), key=itemgetter(1)):
            if partial or entry.parent_id is None or entry.parent_id in tree._entries:
                tree._children_of(entry.parent_id).append(entry.id)
        if not partial:
            check_links(tree._entries, tree._root_ids, active_leaf_id)
        tree._active_leaf_id = active_leaf_id
        tree._unknown = unknown
        tree._log.start(origin, active_leaf_id, mark)
        return tree

    def children_of(self, parent_id: str | None) -> tuple[str, ...]:
        """Return the ids of a message's children (None: the roots), oldest first, as far as they were loaded."""
        return tuple(self._children_of(parent_id))

    # --- helpers ---

    def _entry(self, node_id: str) -> Entry:
        entry = self._entries.get(node_id)
        if entry is None:
            raise NodeNotFoundError(f'MessageTree: node "{node_id}" does not exist', node_id)
        return entry

    def _require_whole(self, what: str) -> None:
        if self._partial:
            raise PartialHistoryError(
                f"Only a part of this conversation was loaded, and {what} needs all of it: load it without a limit"
            )

    def _children_of(self, parent_id: str | None) -> list[str]:
        if parent_id is None:
            return self._root_ids
        entry = self._entries.get(parent_id)
        return entry.children if entry is not None else self._beyond.setdefault(parent_id, [])

    def _add(
        self,
        parent_id: str | None,
        message: Mapping[str, Any],
        metadata: Mapping[str, Any] | None,
        node_id: str | None = None,
    ) -> str:
        # Everything that can fail comes first, so that an error leaves the tree unchanged.
        message_json = encode_object(message, "message")
        metadata_json = encode_object({} if metadata is None else metadata, "metadata")
        if node_id is not None:
            if node_id in self._entries:
                raise HistoryError(f'MessageTree: message "{node_id}" exists: give another id')
        else:
            node_id = self._new_id()
        self._entries[node_id] = new_entry(node_id, parent_id, message_json, metadata_json)
        self._children_of(parent_id).append(node_id)
        self._log.add(node_id)
        return node_id

    def _new_id(self) -> str:
        node_id = self._generate_id()
        if not isinstance(node_id, str):
            raise HistoryError(f"MessageTree: generate_id returned {node_id!r}: an id must be a string")
        if node_id in self._entries:
            raise HistoryError(f'MessageTree: generate_id returned "{node_id}" again: every id must be new')
        return node_id

    def _activate(self, node_id: str) -> str:
        self._active_leaf_id = node_id
        return node_id

    def _step(self, node_id: str, offset: int) -> str | None:
        self._require_whole("finding alternatives")
        siblings = self._children_of(self._entry(node_id).parent_id)
        index = siblings.index(node_id) + offset
        return self._activate(self._first_leaf(siblings[index])) if 0 <= index < len(siblings) else None

    def _first_leaf(self, node_id: str) -> str:
        while children := self._entries[node_id].children:
            node_id = children[0]
        return node_id

    def _upwards(self, entry: Entry) -> Iterator[Entry]:
        above: Entry | None = entry
        while above is not None:
            yield above
            above = self._entries.get(above.parent_id) if above.parent_id is not None else None
