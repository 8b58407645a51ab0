"""Named checks that run with or without a test framework, and what they are written with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from unittest import SkipTest

from .._time import now_ms, sleep, timeout

__all__ = [
    "PATIENCE_S",
    "Check",
    "CheckList",
    "CheckSkipped",
    "gather_items",
    "raises",
    "wait_until",
    "wait_until_past",
]

PATIENCE_S = 60.0
"""Seconds that a check waits for something that must happen: more than any slow machine needs."""

_H = TypeVar("_H")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)


class CheckSkipped(SkipTest):
    """Raised when a check does not apply to a store. Its message is the reason.

    pytest and unittest report it as a skipped test by themselves.
    """


@dataclass(frozen=True, slots=True)
class Check(Generic[_H]):
    """A check of one promise of a store.

    ``run`` takes a harness, which makes the stores. It raises AssertionError, or whatever the store raised, when the
    check fails, and CheckSkipped when it does not apply.
    """

    name: str
    run: Callable[[_H], Awaitable[None]]


class CheckList(Generic[_H]):
    """A decorator that collects functions as checks, each named after what it checks."""

    def __init__(self) -> None:
        self._checks: list[Check[_H]] = []

    def __call__(self, run: Callable[[_H], Awaitable[None]]) -> Callable[[_H], Awaitable[None]]:
        """Add a check."""
        self._checks.append(Check(run.__name__, run))
        return run

    def checks(self) -> tuple[Check[_H], ...]:
        """Return the checks in the order in which they were added."""
        return tuple(self._checks)


@dataclass(slots=True)
class Raised(Generic[_E]):
    """The error that a block raised."""

    error: _E | None = None


@contextmanager
def raises(kind: type[_E]) -> Generator[Raised[_E]]:
    """Fail unless the block raises ``kind``."""
    raised: Raised[_E] = Raised()
    try:
        yield raised
    except kind as error:
        raised.error = error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


async def gather_items(items: AsyncIterator[_T]) -> list[_T]:
    """Read an iterator to its end and return its items."""
    return [item async for item in items]


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Evaluate a condition repeatedly until it holds. Raises TimeoutError after 60 s."""
    async with timeout(PATIENCE_S):
        while not await condition():
            await sleep(0.01)


async def wait_until_past(time_ms: int) -> None:
    """Wait until the time of day, in milliseconds since the epoch, is past ``time_ms``."""
    while now_ms() <= time_ms:
        await sleep((time_ms + 1 - now_ms()) / 1000)
