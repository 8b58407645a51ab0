"""Conversations as trees of messages, saved in the JavaScript packages' format (contract, section 6)."""

from __future__ import annotations

from .._public import publish
from .chat import ChatHistory
from .node import Message, Siblings, TreeNode, TreePath
from .tree import GenerateId, MessageTree

__all__ = ["ChatHistory", "GenerateId", "Message", "MessageTree", "Siblings", "TreeNode", "TreePath"]

publish(__name__, __all__)
