"""Cloudflare Workers: D1 and a Durable Object's SQLite as databases, KV as a conversation store, Workers AI as a model.

It can be imported anywhere and works inside a Python Worker. Each name is loaded when it is first used, since a
Worker's start-up is billed and limited to a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand

if TYPE_CHECKING:
    from .d1 import D1Client, wrap_d1
    from .durable_object import DurableObjectClient, wrap_durable_object
    from .fetch import FetchTransport
    from .fetch_model import OpenAIFetchModel
    from .kv import KVConversationStore
    from .object_router import ObjectRouter
    from .object_stream_store import DurableObjectStreamStore
    from .session_index import SessionIndex
    from .stream_object import DurableStreamObject
    from .workers_ai import WorkersAIModel

__all__ = [
    "D1Client",
    "DurableObjectClient",
    "DurableObjectStreamStore",
    "DurableStreamObject",
    "FetchTransport",
    "KVConversationStore",
    "ObjectRouter",
    "OpenAIFetchModel",
    "SessionIndex",
    "WorkersAIModel",
    "wrap_d1",
    "wrap_durable_object",
]

__getattr__ = load_on_demand(
    __name__,
    {
        "d1": "D1Client wrap_d1",
        "durable_object": "DurableObjectClient wrap_durable_object",
        "fetch": "FetchTransport",
        "fetch_model": "OpenAIFetchModel",
        "kv": "KVConversationStore",
        "object_router": "ObjectRouter",
        "object_stream_store": "DurableObjectStreamStore",
        "session_index": "SessionIndex",
        "stream_object": "DurableStreamObject",
        "workers_ai": "WorkersAIModel",
    },
)


def __dir__() -> list[str]:
    return __all__
