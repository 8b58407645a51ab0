"""ChatHistory: a conversation as its reader sees it, over the tree of everything that was ever said in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from ..errors import NodeNotFoundError
from .entry import now
from .node import Message
from .tree import GenerateId, MessageTree

__all__ = ["ChatHistory"]


class ChatHistory:
    """Holds one conversation: ``messages`` is what was said on the current path, oldest first.

    Nothing is overwritten: an edited message or another answer is an alternative beside the first one, and the
    conversation goes on below it. ``tree`` has everything else.
    """

    def __init__(self, *, generate_id: GenerateId | None = None) -> None:
        self._tree = MessageTree(generate_id=generate_id)

    @property
    def tree(self) -> MessageTree:
        """The tree that this conversation is a path through; whatever is done to it is done to the conversation."""
        return self._tree

    @property
    def messages(self) -> list[Message]:
        """Return the messages of the current path, oldest first: copies, to do with as one likes.

        Each is decoded anew; when only the end of a long conversation is needed, ``tree.get_active_path(limit=…)``
        decodes no more than that.
        """
        return list(self._tree.get_active_path().messages)

    @property
    def node_ids(self) -> list[str]:
        """List the ids of the messages of the current path, in the order of :attr:`messages`."""
        return list(self._tree.get_active_path().node_ids)

    @property
    def size(self) -> int:
        """Count the messages, alternatives included."""
        return self._tree.size

    @property
    def is_empty(self) -> bool:
        """Say whether nothing has been said yet."""
        return self._tree.is_empty

    def append(self, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Add a message at the end of the current path and return its id.

        ``message`` and ``metadata`` are JSON objects; raises HistoryError, and nothing is added, for any other value.
        """
        return self._tree.append(message, metadata)

    def edit(self, message_id: str, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Put another version beside a message, continue from it, and return its id."""
        if message_id not in self._tree:
            raise NodeNotFoundError(f'ChatHistory: message "{message_id}" does not exist', message_id)
        return self._tree.add_sibling(message_id, message, metadata)

    def regenerate(self, message_id: str, message: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> str:
        """Put another answer beside a message, continue from it, and return its id: an edit by another name."""
        return self.edit(message_id, message, metadata)

    def has_alternatives(self, message_id: str) -> bool:
        """Say whether there are other versions of a message."""
        return self.alternative_count(message_id) > 1

    def alternative_count(self, message_id: str) -> int:
        """Count the versions of a message, itself included."""
        return len(self._tree.get_sibling_ids(message_id))

    def alternative_index(self, message_id: str) -> int:
        """Tell which of its versions a message is: 0 for the oldest."""
        return self._tree.get_sibling_ids(message_id).index(message_id)

    def next_alternative(self, message_id: str) -> str | None:
        """Switch to the next version of a message, and down to the end of the conversation that follows it first.

        Returns the id of the message where the conversation now ends; None when there is no next version and nothing
        changed. (JavaScript's returns nothing in either case.)
        """
        return self._tree.next_sibling(message_id)

    def prev_alternative(self, message_id: str) -> str | None:
        """Switch to the version before, as :meth:`next_alternative` does to the next."""
        return self._tree.prev_sibling(message_id)

    def compact(self, summary: Mapping[str, Any]) -> str:
        """Replace everything, alternatives included, by one message that sums it up, and return its id.

        Its metadata says ``{"compacted": true, "compactedAt": …}``.
        """
        return self._tree.replace_all(summary, {"compacted": True, "compactedAt": now()})

    def merge(self, other: ChatHistory) -> int:
        """Take over every message that only ``other`` has, and return how many that was.

        Two copies of one conversation that grew apart become one again, with both continuations as alternatives; the
        current path stays ours. What one side removed comes back from the other.

        After :meth:`compact` the summary stays the current conversation. What this object compacted comes back only
        as far as a turn that the summary cannot know hangs from it. A chat that was compacted, saved and restored no
        longer knows what its summary replaced, so all of it comes back from a copy that was not compacted. Either way
        it is an alternative of the summary, and no longer what the model sees.

        Raises MalformedTreeError, and nothing is taken over, when a message is not the same on both sides.
        """
        return self._tree.merge(other.tree)

    def to_json(self) -> str:
        """Write the conversation as JSON, byte for byte as the JavaScript ChatHistory does."""
        return self._tree.to_json()

    @classmethod
    def from_json(cls, text: str, *, generate_id: GenerateId | None = None) -> Self:
        """Restore a conversation. Raises MalformedTreeError as :meth:`MessageTree.from_json` does."""
        chat = cls()
        chat._tree = MessageTree.from_json(text, generate_id=generate_id)
        return chat
