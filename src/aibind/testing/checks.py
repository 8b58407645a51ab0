"""What a contract suite is made of: named checks that run anywhere, with or without a test framework."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Check", "CheckList", "gather_items", "raises"]

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


async def gather_items(items: AsyncIterator[_T]) -> list[_T]:
    """Read an iterator to its end."""
    return [item async for item in items]
