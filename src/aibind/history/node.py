"""The values that a tree returns: copies, so that callers cannot change the tree through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Message", "Siblings", "TreeNode", "TreePath"]

Message: TypeAlias = dict[str, Any]
"""A JSON object, usually ``{"role": "user", "content": "…"}``."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A snapshot of one message and its place in the tree.

    All but ``children`` never changes. ``message`` and ``metadata`` are copies that belong to the caller.
    ``created_at`` has the format of JavaScript's ``toISOString``: ``2026-01-31T12:00:00.000Z``.
    """

    id: str
    message: Message
    parent_id: str | None
    children: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Siblings:
    """A message and its alternatives, oldest first; ``siblings[index]`` is the requested message."""

    siblings: tuple[TreeNode, ...]
    index: int


@dataclass(frozen=True, slots=True)
class TreePath:
    """The path from a root down to one message: the messages, and the ids of their nodes."""

    messages: tuple[Message, ...]
    node_ids: tuple[str, ...]
