"""Chats of the AI SDK with our transport, over connections that break."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from aibind.streams import SseParser
from tests.frontends.chat_server import Server, check_stored
from tests.frontends.cutting import QUESTION, Cut, over_cuts, random_limits
from tests.frontends.driver import Driver
from tests.protocols.events import joined
from tests.support.cutting import CuttingProxy

__all__ = ["read_with_transport"]

QUESTIONS = [(QUESTION, 3_200), ("tool", 1_800), ("extras", 1_200)]
"""What is asked, and the bytes after which a connection breaks at the latest: a little less than the answer has."""


async def read_with_transport(driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies; check that no chat sees an error, and that no character is sent twice."""

    async def read_one(name: str, places: random.Random, found: Cut) -> None:
        question, longest = places.choice(QUESTIONS)
        reset = places.random() < 0.3
        proxy = CuttingProxy(server.url, random_limits(places, longest), reset=reset)
        async with proxy.serving() as url:
            chat = await driver.chat(f"{url}/api/chat", name, version, ours={})
            state = await chat.send(question)
        assert (state["status"], state["error"], len(state["messages"])) == ("ready", None, 2)
        assert len(state["finished"]) == 1
        if question != "extras":  # of which the store keeps the text alone
            await check_stored(server, state, name)
        whole = await server.get(f"/resume/{state['position']['streamId']}")
        expected = list(joined(_chunk(message.data) for message in SseParser().feed(whole.content)))
        assert list(joined(state["chunks"])) == expected
        if not reset:  # which may lose what has passed already
            assert list(joined(_sent_once(proxy))) == expected
        found.replies += 1
        found.breaks += proxy.cuts
        found.resumed += state["joins"] - 1

    return await over_cuts(f"our transport {version}", read_one, count, seed)


def _sent_once(proxy: CuttingProxy) -> Iterator[Any]:
    """Yield the chunks that came up to an id; what a response has beyond its last one is sent again."""
    for connection in proxy.passed:
        for body in _bodies(bytes(connection)):
            messages = SseParser().feed(body)
            whole = max((place for place, message in enumerate(messages, 1) if message.id), default=0)
            yield from (_chunk(message.data) for message in messages[:whole])


def _chunk(data: str) -> Any:
    return None if data == "[DONE]" else json.loads(data)


def _bodies(connection: bytes) -> Iterable[bytes]:
    """Yield the bodies of the chunked responses of a connection, as far as they came."""
    for response in connection.split(b"HTTP/1.1 ")[1:]:
        head, _, rest = response.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            continue
        body = b""
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body += rest[:length]
            rest = rest[length + 2 :]
        yield body
