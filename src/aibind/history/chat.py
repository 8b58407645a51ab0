"""ChatHistory: the current path of a conversation, backed by the tree of all its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ..errors import NodeNotFoundError
from .entry import now
from .node import Message
from .tree import GenerateId, MessageTree

__all__ = ["ChatHistory"]


class ChatHistory:
    """A conversation: ``messages`` is the current path through its tree, oldest first.

    Nothing is overwritten: an edited message or another answer is added as an alternative to the original, and the
    conversation continues below it. ``tree`` holds every message, those off the current path included.

    A store may load only the end of a long conversation (see :attr:`is_partial`), which can be continued like any
    other. What needs the rest, as :meth:`to_json` and the alternatives do, then raises PartialHistoryError.
    """

    def __init__(self, *, generate_id: GenerateId | None = None) -> None:
        self._tree = MessageTree(generate_id=generate_id)

    def __repr__(self) -> str:
        return f"<ChatHistory of {self._tree!r}>"

    @property
    def tree(self) -> MessageTree:
        """The tree that holds every message; changing it changes the conversation."""
        return self._tree

    @property
    def messages(self) -> list[Message]:
        """Copies of the messages on the current path, oldest first.

        Every access decodes all of them. When only the end of a long conversation is needed,
        ``tree.get_active_path(limit=…)`` decodes no more than that.
        """
        return list(self._tree.get_active_path().messages)

    @property
    def node_ids(self) -> list[str]:
        """The ids of the messages on the current path, in the order of :attr:`messages`."""
        return list(self._tree.get_active_path().node_ids)

    @property
    def is_partial(self) -> bool:
        """Whether a store loaded only a part of the conversation: the end of one path."""
        return self._tree.is_partial

    @property
    def has_more_above(self) -> bool:
        """Whether the current path begins above its first message here, which a store has loaded in part."""
        leaf = self._tree.active_leaf_id
        return leaf is not None and (leaf not in self._tree or self._tree.has_more_above(leaf))

    @property
    def size(self) -> int:
        """The number of messages, alternatives included."""
        return self._tree.size

    @property
    def is_empty(self) -> bool:
        """Whether the conversation has no messages."""
        return self._tree.is_empty

    def append(
        self, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, new_id: str | None = None
    ) -> str:
        """Add a message to the end of the current path and return its id, which is ``new_id`` or a generated one.

        ``message`` and ``metadata`` are JSON objects. Raises HistoryError for any other value, and for an id that the
        conversation has; nothing is added then.
        """
        return self._tree.append(message, metadata, node_id=new_id)

    def edit(
        self,
        message_id: str,
        message: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *,
        new_id: str | None = None,
    ) -> str:
        """Add an alternative to a message, continue from it, and return its id, which is ``new_id`` or a generated one.

        Raises NodeNotFoundError when there is no such message, and HistoryError as :meth:`append` does.
        """
        if message_id not in self._tree:
            raise NodeNotFoundError(f'ChatHistory: message "{message_id}" does not exist', message_id)
        return self._tree.add_sibling(message_id, message, metadata, sibling_id=new_id)

    def regenerate(self, message_id: str, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Add an alternative to an answer, continue from it, and return its id. The same as :meth:`edit`."""
        return self.edit(message_id, message, metadata)

    def has_alternatives(self, message_id: str) -> bool:
        """Return whether a message has alternatives."""
        return self.alternative_count(message_id) > 1

    def alternative_count(self, message_id: str) -> int:
        """Return the number of versions of a message, itself included."""
        return len(self._tree.get_sibling_ids(message_id))

    def alternative_index(self, message_id: str) -> int:
        """Return the position of a message among its versions: 0 for the oldest."""
        return self._tree.get_sibling_ids(message_id).index(message_id)

    def next_alternative(self, message_id: str) -> str | None:
        """Switch to the next version of a message, and follow first children down to a leaf.

        Returns the id of that leaf, where the current path now ends; None, and nothing changes, when there is no next
        version. (The JavaScript method returns nothing in either case.)
        """
        return self._tree.next_sibling(message_id)

    def prev_alternative(self, message_id: str) -> str | None:
        """Switch to the previous version of a message, as :meth:`next_alternative` does to the next."""
        return self._tree.prev_sibling(message_id)

    def compact(self, summary: Mapping[str, Any]) -> str:
        """Replace all messages, alternatives included, with one summary, and return its id.

        Its metadata is ``{"compacted": true, "compactedAt": …}``.
        """
        return self._tree.replace_all(summary, {"compacted": True, "compactedAt": now()})

    def merge(self, other: ChatHistory) -> int:
        """Add every message that only ``other`` has, and return their number.

        Two copies of a conversation that diverged become one again, with both continuations as alternatives; the
        current path stays that of this object. A message that one side removed comes back from the other.

        After :meth:`compact` the summary stays on the current path. Messages that this object compacted come back only
        where ``other`` continued from them. A chat that was saved and restored after being compacted no longer knows
        which messages its summary replaced, so a copy that was not compacted brings all of them back. Either way they
        are alternatives to the summary, and the model no longer sees them.

        Raises MalformedTreeError, and adds nothing, when a message differs between the two sides.
        """
        return self._tree.merge(other.tree)

    def to_json(self) -> str:
        """Return the conversation as JSON, byte for byte what the JavaScript ChatHistory writes."""
        return self._tree.to_json()

    @classmethod
    def from_json(cls, text: str, *, generate_id: GenerateId | None = None) -> Self:
        """Restore a conversation from its JSON. Raises MalformedTreeError as :meth:`MessageTree.from_json` does."""
        return cls.from_tree(MessageTree.from_json(text, generate_id=generate_id))

    @classmethod
    def from_tree(cls, tree: MessageTree) -> Self:
        """Return the conversation whose messages are in a tree; changing one changes the other."""
        chat = cls()
        chat._tree = tree
        return chat
