"""What a conversation tree hands out: copies, so that nothing outside can change what the tree holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Message", "Siblings", "TreeNode", "TreePath"]

Message: TypeAlias = dict[str, Any]
"""One message of a conversation: any JSON object, usually ``{"role": "user", "content": "…"}``."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """Is one message of a tree, with its place at the time it was asked for.

    Everything but ``children`` stays as it was made. ``message`` and ``metadata`` are the caller's own copies.
    ``created_at`` is as JavaScript's ``toISOString`` prints it: ``2026-01-31T12:00:00.000Z``.
    """

    id: str
    message: Message
    parent_id: str | None
    children: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Siblings:
    """Is a message among its alternatives: ``siblings[index]`` is the message that was asked about."""

    siblings: tuple[TreeNode, ...]
    index: int


@dataclass(frozen=True, slots=True)
class TreePath:
    """Is the way from a root down to one message: the messages, and the ids of their nodes."""

    messages: tuple[Message, ...]
    node_ids: tuple[str, ...]
