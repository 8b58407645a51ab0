"""Replies over connections that break at a random byte, until the page has the whole of each."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from aibind.streams import SseParser
from tests.frontends.chat_server import Server, check_stored
from tests.frontends.driver import Driver, text_of
from tests.protocols.events import joined
from tests.support.cutting import CuttingProxy

__all__ = ["Cut", "read_over_cuts", "read_with_transport", "sent_through"]

WORDS = 40
LONGEST = 3_200
"""Bytes after which a connection breaks at the latest: an answer has about 3,500."""

AT_ONCE = 5

FULL = "".join(f"{number} " for number in range(WORDS))


@dataclass(slots=True)
class Cut:
    """What became of the replies."""

    replies: int = 0
    breaks: int = 0
    resumed: int = 0
    asked_again: int = 0


_Read: TypeAlias = Callable[[Driver, Server, int, str, random.Random, Cut], Coroutine[Any, Any, None]]


async def read_over_cuts(driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies, each over connections that break at random; check that each is whole in the end."""
    return await _read_all(_read, driver, server, version, count, seed)


async def read_with_transport(driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    """Do so with our transport; check that no chat sees an error, and that no character is sent twice."""
    return await _read_all(_read_with_transport, driver, server, version, count, seed)


async def _read_all(read: _Read, driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    found = Cut()
    places = random.Random(f"{version} {seed}")
    for first in range(0, count, AT_ONCE):
        names = [f"{read.__name__} {version} {seed} {number}" for number in range(first, min(first + AT_ONCE, count))]
        await asyncio.gather(
            *(read(driver, server, version, name, random.Random(places.random()), found) for name in names)
        )
    return found


def _proxy(server: Server, places: random.Random, *, reset: bool, longest: int = LONGEST) -> CuttingProxy:
    def limits() -> Iterator[int | None]:
        yield from (places.randrange(longest) for _ in range(places.choice([1, 1, 2, 3])))
        while True:
            yield None

    return CuttingProxy(server.url, limits(), reset=reset)


async def _read(driver: Driver, server: Server, version: int, name: str, places: random.Random, found: Cut) -> None:
    proxy = _proxy(server, places, reset=places.random() < 0.5)
    async with proxy.serving() as url:
        chat = await driver.chat(f"{url}/api/chat", name, version)
        state = await chat.send(f"count {WORDS}")
        while not state["finished"] or state["finished"][-1].get("finishReason") != "stop":
            before = len(state["finished"])
            state = await chat.call("resumeStream")
            found.resumed += 1
            if state["status"] == "ready" and len(state["finished"]) == before:  # there was nothing to resume
                state = await chat.call("regenerate")
                found.asked_again += 1
        assert text_of(state["messages"][-1]) == FULL
        assert len(state["messages"]) == 2
    await check_stored(server, state, name)
    found.replies += 1
    found.breaks += proxy.cuts


async def _read_with_transport(
    driver: Driver, server: Server, version: int, name: str, places: random.Random, found: Cut
) -> None:
    prompt, longest = places.choice([(f"count {WORDS}", LONGEST), ("tool", 1_800), ("extras", 1_200)])
    reset = places.random() < 0.3
    proxy = _proxy(server, places, reset=reset, longest=longest)
    async with proxy.serving() as url:
        chat = await driver.chat(f"{url}/api/chat", name, version, ours={})
        state = await chat.send(prompt)
    assert (state["status"], state["error"], len(state["messages"])) == ("ready", None, 2)
    assert [one["finishReason"] for one in state["finished"]] == ["stop"]
    if prompt != "extras":  # of which the store keeps the text alone
        await check_stored(server, state, name)
    whole = await server.get(f"/resume/{state['position']['streamId']}")
    expected = list(joined(_chunks_of(whole.content)))
    assert list(joined(state["chunks"])) == expected
    if not reset:  # which may lose what has passed already
        assert list(joined(_once(sent_through(proxy)))) == expected
    found.replies += 1
    found.breaks += proxy.cuts
    found.resumed += state["joins"] - 1


def sent_through(proxy: CuttingProxy) -> list[list[tuple[str, Any]]]:
    """Return the messages that came whole, of each response: the id (empty where there is none), and the chunk."""
    return [
        [(message.id, _chunk(message.data)) for message in SseParser().feed(body)]
        for connection in proxy.passed
        for body in _bodies(bytes(connection))
    ]


def _once(responses: Iterable[list[tuple[str, Any]]]) -> Iterator[Any]:
    """Yield the chunks that were sent up to an id; what a response has beyond its last one is sent again."""
    for response in responses:
        ids = [place for place, (id_, _) in enumerate(response, 1) if id_]
        for _, chunk in response[: ids[-1] if ids else 0]:
            yield chunk


def _chunks_of(body: bytes) -> list[Any]:
    return [_chunk(message.data) for message in SseParser().feed(body)]


def _chunk(data: str) -> Any:
    return None if data == "[DONE]" else json.loads(data)


def _bodies(connection: bytes) -> Iterator[bytes]:
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
