"""What the tests of several frameworks do with a handler."""

from __future__ import annotations

import asyncio
from typing import Any

from aibind.server import HttpResponse, StreamHandler, Tool
from aibind.streams import SseMessage
from tests.support.endpoint import Endpoint
from tests.support.models import PATIENCE_S
from tests.support.sources import read_all

Event = tuple[str, str]


async def tide(harbour: str, when: str = "") -> dict[str, Any]:
    return {"harbour": harbour, "high": "12:04"}


TIDE = Tool("tide", "Returns the tide", tide, {"type": "object", "properties": {"harbour": {"type": "string"}}})
"""The tool that the recordings call."""


async def messages_of(reply: HttpResponse[Any]) -> list[SseMessage]:
    assert not isinstance(reply.body, bytes), reply.body
    async with asyncio.timeout(PATIENCE_S):
        return [message for message in await read_all(reply.body) if message.event != "stream-id"]


def joined(messages: list[SseMessage]) -> list[Event]:
    """Return the events of a reply, with neighbouring pieces of a text as one."""
    found: list[Event] = []
    for message in messages:
        if found and found[-1][0] == message.event and message.event in ("", "reasoning"):
            found[-1] = (message.event, found[-1][1] + message.data)
        else:
            found.append((message.event, message.data))
    return found


async def ask(handler: StreamHandler, prompt: str = "x", **body: Any) -> list[Event]:
    return joined(await messages_of(await handler.stream({"prompt": prompt, **body})))


async def ask_and_resume_everywhere(handler: StreamHandler, **body: Any) -> list[Event]:
    """Return the events of a reply, once it has been resumed after each of its messages."""
    reply = await handler.stream({"prompt": "x", **body})
    whole = await messages_of(reply)
    ids = [(place, message.id) for place, message in enumerate(whole) if message.id]
    assert len(ids) > 2
    for place, cut in ids:
        rest = await messages_of(await handler.resume(reply.headers["X-Stream-Id"], cut))
        again = whole[: place + 1] + rest
        assert joined([one for one in again if one.event != "done"]) == joined(whole[:-1])
    return joined(whole)


async def check_stop(handler: StreamHandler, endpoint: Endpoint) -> None:
    """Stop a reply in its middle, and wait until the endpoint sees that the connection is closed."""
    reply = await handler.stream({"prompt": "x"})
    async with asyncio.timeout(PATIENCE_S):
        while not (endpoint.exchanges and endpoint.exchanges[-1].sent > 3):
            await asyncio.sleep(0.005)
        await handler.stop({"id": reply.headers["X-Stream-Id"]})
        await endpoint.exchanges[-1].disconnected.wait()
    assert joined(await messages_of(reply))[-2:] == [("stopped", ""), ("done", "")]
    assert not endpoint.exchanges[-1].finished
