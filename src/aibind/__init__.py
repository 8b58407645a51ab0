"""Durable, resumable AI streams and conversations: on Cloudflare Workers, and anywhere else SQLite runs.

The packages are :mod:`aibind.streams`, :mod:`aibind.history`, :mod:`aibind.conversations`, :mod:`aibind.sqlite`,
:mod:`aibind.cloudflare`, :mod:`aibind.models`, :mod:`aibind.server` and, for authors of stores, :mod:`aibind.testing`;
the errors are in :mod:`aibind.errors`. The most used names are here as well, each loaded when it is first used, since a
Worker pays for its imports at every start. Importing this needs the standard library alone.
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
