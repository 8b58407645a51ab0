"""Durable, resumable AI streams and conversations: on Cloudflare Workers, and anywhere else SQLite runs.

The parts live in packages of their own: :mod:`aibind.streams`, :mod:`aibind.history`, :mod:`aibind.conversations`,
:mod:`aibind.sqlite`, :mod:`aibind.cloudflare`, :mod:`aibind.models`, :mod:`aibind.server` and, for those who write a
store, :mod:`aibind.testing`. The names used most are here as well, and are loaded when they are first asked for: a
Worker pays for what it imports. Importing this needs the standard library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._lazy import load_on_demand

if TYPE_CHECKING:
    from .conversations import ConversationStore, MemoryConversationStore
    from .errors import AibindError
    from .history import ChatHistory, MessageTree
    from .streams import DurableStream, MemoryStreamStore, StreamEvent, StreamStore

__version__ = "0.1.0"

__all__ = [
    "AibindError",
    "ChatHistory",
    "ConversationStore",
    "DurableStream",
    "MemoryConversationStore",
    "MemoryStreamStore",
    "MessageTree",
    "StreamEvent",
    "StreamStore",
    "__version__",
]

__getattr__ = load_on_demand(
    __name__,
    {
        "conversations": "ConversationStore MemoryConversationStore",
        "errors": "AibindError",
        "history": "ChatHistory MessageTree",
        "streams": "DurableStream MemoryStreamStore StreamEvent StreamStore",
    },
)


def __dir__() -> list[str]:
    return __all__
