"""What a contract suite is made of: named checks that run anywhere, with or without a test framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

__all__ = ["PATIENCE_S", "Check", "CheckList", "gather_items", "raises", "skip", "wait_until"]

PATIENCE_S = 60.0
"""How long, in seconds, a check waits for what must happen: for ever, as far as a slow machine is concerned."""

_H = TypeVar("_H")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)


@dataclass(frozen=True, slots=True)
class Check(Generic[_H]):
    """Is one check. ``run`` is given a harness, which makes the thing to be checked; AssertionError: it failed."""

    name: str
    run: Callable[[_H], Awaitable[None]]


class CheckList(Generic[_H]):
    """Collects checks: a decorator for functions whose names say what they check."""

    def __init__(self) -> None:
        self._checks: list[Check[_H]] = []

    def __call__(self, run: Callable[[_H], Awaitable[None]]) -> Callable[[_H], Awaitable[None]]:
        """Add a check."""
        self._checks.append(Check(run.__name__, run))
        return run

    def checks(self) -> tuple[Check[_H], ...]:
        """Return the checks in the order in which they were written."""
        return tuple(self._checks)


@dataclass(slots=True)
class Raised(Generic[_E]):
    """Holds the error that was raised."""

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


def skip(reason: str) -> NoReturn:
    """End a check that does not apply to the store, by raising ``unittest.SkipTest``: pytest reports it as skipped."""
    from unittest import SkipTest  # here: who only passes its checks need not load it

    raise SkipTest(reason)


async def gather_items(items: AsyncIterator[_T]) -> list[_T]:
    """Read an iterator to its end."""
    return [item async for item in items]


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so. Raises TimeoutError when it never is."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - whatever it asks has no event
            await asyncio.sleep(0.01)
