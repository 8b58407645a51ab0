"""A client of aibind's servers, which comes back after every lost connection.

::

    async with AsyncClient("http://127.0.0.1:8000") as client:
        async for event in client.ask("Tell me about rivers", session_id="demo"):
            print(event.text, end="")

:class:`Client` is the same for programs without an event loop. Both need the extra ``http``; in a
Cloudflare Worker :class:`AsyncClient` needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand
from .._public import publish
from .approvals import ApprovalAnswer, WaitingCall
from .events import ReplyEvent
from .sessions import Session, SessionList, SessionMessage

if TYPE_CHECKING:
    from .asynchronous import AsyncClient, AsyncReply
    from .synchronous import Client, Reply
    from .transport import ClientTransport, TransportResponse

__all__ = [
    "ApprovalAnswer",
    "AsyncClient",
    "AsyncReply",
    "Client",
    "ClientTransport",
    "Reply",
    "ReplyEvent",
    "Session",
    "SessionList",
    "SessionMessage",
    "TransportResponse",
    "WaitingCall",
]

publish(__name__, __all__)
__getattr__ = load_on_demand(
    __name__,
    {
        "asynchronous": "AsyncClient AsyncReply",
        "synchronous": "Client Reply",
        "transport": "ClientTransport TransportResponse",
    },
)


def __dir__() -> list[str]:
    return __all__
