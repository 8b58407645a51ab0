"""Replies over connections that break at a random byte, until the page has the whole of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.frontends.chat_server import Server, check_stored
from tests.frontends.driver import Driver, text_of
from tests.support.cutting import CuttingProxy

__all__ = ["Cut", "read_over_cuts"]

WORDS = 40
LONGEST = 2_800
"""Bytes after which a connection breaks at the latest: an answer has about 3,000."""

AT_ONCE = 5


@dataclass(slots=True)
class Cut:
    """What became of the replies."""

    replies: int = 0
    breaks: int = 0
    resumed: int = 0
    asked_again: int = 0


async def read_over_cuts(driver: Driver, server: Server, version: int, count: int, seed: int) -> Cut:
    """Ask for ``count`` replies, each over connections that break at random; check that each is whole in the end."""
    found = Cut()
    places = random.Random(f"{version} {seed}")
    for first in range(0, count, AT_ONCE):
        names = [f"cut {version} {seed} {number}" for number in range(first, min(first + AT_ONCE, count))]
        await asyncio.gather(
            *(_read(driver, server, version, name, random.Random(places.random()), found) for name in names)
        )
    return found


async def _read(driver: Driver, server: Server, version: int, name: str, places: random.Random, found: Cut) -> None:
    def limits() -> Iterator[int | None]:
        yield from (places.randrange(LONGEST) for _ in range(places.choice([1, 1, 2, 3])))
        while True:
            yield None

    proxy = CuttingProxy(server.url, limits(), reset=places.random() < 0.5)
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
        assert text_of(state["messages"][-1]) == "".join(f"{number} " for number in range(WORDS))
        assert len(state["messages"]) == 2
    await check_stored(server, state, name)
    found.replies += 1
    found.breaks += proxy.cuts
