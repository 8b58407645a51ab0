"""Replies over connections that break at a random byte, until the page has the whole of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from tests.support.cutting import CuttingProxy

__all__ = ["COUNTED", "QUESTION", "Cut", "ReadOne", "breaking", "over_cuts", "random_limits"]

WORDS = 40
QUESTION = f"count {WORDS}"
COUNTED = "".join(f"{number} " for number in range(WORDS))
"""The answer to the question."""

AT_ONCE = 5


@dataclass(slots=True)
class Cut:
    """What became of the replies."""

    replies: int = 0
    breaks: int = 0
    resumed: int = 0
    asked_again: int = 0

    def __str__(self) -> str:
        return (
            f"{self.replies} replies exact over {self.breaks} broken connections; resumed {self.resumed} times, asked"
            f" again {self.asked_again} times"
        )


ReadOne: TypeAlias = Callable[[str, random.Random, Cut], Awaitable[None]]
"""A function that reads the reply of one conversation, given its name, and checks that it is whole."""


async def over_cuts(client: str, read_one: ReadOne, count: int, seed: int) -> Cut:
    """Read ``count`` replies, each over connections that break at random."""
    found = Cut()
    places = random.Random(f"{client} {seed}")
    for first in range(0, count, AT_ONCE):
        names = [f"cut {client} {seed} {number}" for number in range(first, min(first + AT_ONCE, count))]
        await asyncio.gather(*(read_one(name, random.Random(places.random()), found) for name in names))
    return found


def random_limits(places: random.Random, longest: int) -> Iterator[int | None]:
    """Yield the limits of a proxy whose first connections break after at most ``longest`` bytes."""
    yield from (places.randrange(longest) for _ in range(places.choice([1, 1, 2, 3])))
    while True:
        yield None


@asynccontextmanager
async def breaking(url: str, places: random.Random, longest: int, found: Cut) -> AsyncIterator[str]:
    """Give the address of a proxy whose first connections break after at most ``longest`` bytes."""
    proxy = CuttingProxy(url, random_limits(places, longest), reset=places.random() < 0.5)
    async with proxy.serving() as address:
        yield address
    found.replies += 1
    found.breaks += proxy.cuts
