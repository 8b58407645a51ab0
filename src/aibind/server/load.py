"""The load of a handler: the replies that it produces at the moment, and the responses that follow them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from .._time import call_later, sleep
from ..errors import RequestError
from ..streams.response import HttpResponse
from .bodies import RETRY_AFTER_S, too_many
from .limits import Limits

__all__ = ["Load", "Slot", "counted", "followed"]

OPENED_AT_ONCE = 8
"""Streams that are opened for one owner at one time: each takes the loop for a part of a millisecond."""

FREE_REFUSALS = 20
"""Refusals of one owner in five seconds that are answered at once."""

MAX_SLOWED = 2_000
"""Refusals of one owner in five seconds from which on they are answered at once again: those that wait take memory."""

SLOWED_S = 1.0
"""Seconds until the other refusals are answered: a request that waits takes no part of the loop's time."""


class Slot:
    """The place that something takes up until it is released; releasing it again does nothing."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free: Callable[[], None] | None = free

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the place back."""
        free, self._free = self._free, None
        if free is not None:
            free()


class Load:
    """The counts of a handler, within its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams = 0
        self._followers = 0
        self._by_owner: Counter[str] = Counter()
        self._by_stream: Counter[str] = Counter()
        self._following: Counter[str] = Counter()  # by owner
        self._gates: dict[str, _Gate] = {}  # by owner
        self._refused: Counter[str] = Counter()  # by owner, of the last seconds

    def __repr__(self) -> str:
        return f"<Load streams={self._streams} followers={self._followers}>"

    def start(self, owner: str | None) -> Slot:
        """Take the place of a reply. Raises RequestError, with status 429, when there is none."""
        limits = self._limits
        if owner is not None:
            _check(
                "streams_per_owner", limits.streams_per_owner, self._by_owner[owner], "replies of yours are under way"
            )
        _check("streams", limits.streams, self._streams, "replies are under way")
        self._streams += 1
        if owner is not None:
            self._by_owner[owner] += 1

        def free() -> None:
            self._streams -= 1
            if owner is not None:
                _decrease(self._by_owner, owner)

        return Slot(free)

    def follow(self, owner: str | None, stream_id: str | None = None) -> Slot:
        """Take the place of a response that follows a stream, or a new one.

        Raises RequestError, with status 429, when there is none.
        """
        if owner is not None:
            self._check_owner(owner)
        if stream_id is not None:
            limit = self._limits.followers_per_stream
            _check("followers_per_stream", limit, self._by_stream[stream_id], "responses follow this stream")
        _check("followers", self._limits.followers, self._followers, "responses follow streams")
        self._followers += 1
        if owner is not None:
            self._following[owner] += 1
        if stream_id is not None:
            self._by_stream[stream_id] += 1

        def free() -> None:
            self._followers -= 1
            if owner is not None:
                _decrease(self._following, owner)
            if stream_id is not None:
                _decrease(self._by_stream, stream_id)

        return Slot(free)

    def first_follower(self, stream_id: str) -> Slot:
        """Count the response that began a stream as a follower of it."""
        self._by_stream[stream_id] += 1
        return Slot(lambda: _decrease(self._by_stream, stream_id))

    @asynccontextmanager
    async def opening(self, owner: str | None) -> AsyncGenerator[None]:
        """Wait until few streams are being opened for an owner, so that those who open many wait for themselves.

        Raises RequestError, with status 429, when the owner's responses, and what waits, are too many.
        """
        if owner is None:
            yield
            return
        async with self.refusing(owner):
            waiting = self._gates[owner].count if owner in self._gates else 0
            self._check_owner(owner, waiting)
            gate = self._gates.setdefault(owner, _Gate())
            gate.count += 1
            try:
                async with gate.free:
                    yield
            finally:
                gate.count -= 1
                if not gate.count:
                    del self._gates[owner]

    @asynccontextmanager
    async def refusing(self, owner: str | None) -> AsyncGenerator[None]:
        """Answer an owner who does not stop asking for more than is allowed after a second, and others at once."""
        try:
            yield
        except RequestError as error:
            if error.status == 429 and owner is not None:
                await self._slow_down(owner)
            raise

    async def _slow_down(self, owner: str) -> None:
        self._refused[owner] += 1
        call_later(RETRY_AFTER_S, lambda: _decrease(self._refused, owner))
        if FREE_REFUSALS < self._refused[owner] <= MAX_SLOWED:
            await sleep(SLOWED_S)

    def _check_owner(self, owner: str, opening: int = 0) -> None:
        count = self._following[owner] + opening
        _check("followers_per_owner", self._limits.followers_per_owner, count, "responses of yours follow streams")


class _Gate:
    """Lets an owner's requests through, few at a time."""

    def __init__(self) -> None:
        self.count = 0  # those that wait, and those that are through
        self.free = asyncio.Semaphore(OPENED_AT_ONCE)


def followed(response: HttpResponse[AsyncGenerator[bytes]], *slots: Slot) -> HttpResponse[AsyncGenerator[bytes]]:
    """Return a response that releases the slots of a follower when its body is closed."""
    return HttpResponse(response.status, response.headers, counted(response.body, *slots), response.live)


def counted(body: AsyncGenerator[bytes], *slots: Slot) -> AsyncGenerator[bytes]:
    """Return a body that releases ``slots`` when it ends, when it is closed, and when it is dropped unread."""
    return _CountedBody(body, slots)


class _CountedBody(AsyncGenerator[bytes, None]):
    # A class: a generator that was never started runs no finally.

    def __init__(self, body: AsyncGenerator[bytes], slots: tuple[Slot, ...]) -> None:
        self._body = body
        self._slots = slots

    async def asend(self, value: None) -> bytes:
        try:
            return await self._body.asend(value)
        except BaseException:  # a generator ends with any
            self._release()
            raise

    async def athrow(self, *error: Any) -> bytes:
        try:
            return await self._body.athrow(*error)
        except BaseException:
            self._release()
            raise

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._release()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        for slot in self._slots:
            slot.release()


def _check(name: str, limit: int | None, count: int, what: str) -> None:
    if limit is not None and count >= limit:
        raise too_many(f"{count:,} {what}, and this server allows {limit:,} at one time ({name}): try later")


def _decrease(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
