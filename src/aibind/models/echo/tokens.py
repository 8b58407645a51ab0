"""Tokens, repeatable dice, and the pace of the offline model."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Sequence
from typing import TypeVar

from ..._time import sleep

__all__ = ["Dice", "TokenClock", "split_tokens"]

_T = TypeVar("_T")
_TOKEN = re.compile(r" ?\w{1,7}| ?[^\w\s]{1,3}|\s+")


def split_tokens(text: str) -> list[str]:
    """Return the tokens of a text, roughly as a model's tokenizer finds them: short words with the space before them.

    Joined, they are the text.
    """
    return _TOKEN.findall(text)


class Dice:
    """A random generator that gives the same numbers for the same seed, on every Python.

    It is Knuth's 64-bit linear congruential generator (MMIX). ``random`` would not do: importing it seeds a generator,
    and Cloudflare Workers have no randomness while modules are imported.
    """

    def __init__(self, seed: str) -> None:
        self._state = zlib.crc32(seed.encode("utf-8", "surrogatepass"))
        self.below(2)  # similar seeds diverge with the first number

    def below(self, limit: int) -> int:
        """Return a whole number from 0 to ``limit - 1``."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % limit

    def pick(self, choices: Sequence[_T]) -> _T:
        """Return one of ``choices``."""
        return choices[self.below(len(choices))]

    def sample(self, choices: Sequence[_T], count: int) -> list[_T]:
        """Return ``count`` different choices in a new order; all of them when there are fewer."""
        left = list(choices)
        return [left.pop(self.below(len(left))) for _ in range(min(count, len(left)))]


class TokenClock:
    """A pace of ``per_second`` steps, kept against the clock: a late step does not delay the next one.

    At 0 the steps are not paced, but each still lets other tasks run.
    """

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second if per_second else 0.0
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._steps = 0

    async def step(self) -> None:
        """Wait until the next step is due; the first is due at once."""
        due = self._start + self._steps * self._interval_s
        self._steps += 1
        await sleep(due - self._loop.time())
