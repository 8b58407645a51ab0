"""Followers of a stream who are at one position, and whom the runtime sends the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from .._logging import log_fields
from ..streams.batch import EventBatch
from ..streams.live_reader import LiveReader
from ..streams.position import Position
from . import ffi, ffi_http

__all__ = ["Crowd", "Member"]

WATCHED_FIRST = 16
WATCHED_EACH = 16
"""Of the responses, the first so many and then every so manieth are watched: whether they have passed on all."""

IDLE_SHARE = 0.9
"""Of the watched, how many must have passed on all until more is sent."""

LOOK_EACH = 8
"""Pieces after which it is looked at whether all responses have room; fewer than a response has room for."""

MAX_STALL_S = 0.03
"""Seconds without any progress after which no more is waited for: they are slow clients."""


class Member(Protocol):
    """A follower whose response is a sink."""

    reader: LiveReader
    sink: ffi_http.ByteSink
    is_gone: bool
    is_alone: bool


logger = logging.getLogger("aibind")

_M = TypeVar("_M", bound=Member)


class Crowd(Generic[_M]):
    """Members at one position, which are sent what ``encode`` makes of it.

    A call from Python for each member and token would take about 30 µs. The members' readers are told their position
    when they leave. The first who joins sets its position.
    """

    def __init__(self, encode: Callable[[EventBatch], bytes]) -> None:
        self.position = Position(0, 0)
        self.encode = encode
        self.has_leaving = False  # so that part() looks for those who have gone
        self._is_fed = False  # since take_fed was called
        self._members: list[_M] = []
        self._sinks = ffi_http.ByteSinks()
        self._sent = 0  # since it was looked at whether all have room
        self._opened = 0
        self._watched = 0  # of the members
        self._idle = 0  # of the watched, when they were last looked at
        self._progress_at = 0.0  # by the loop's clock

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._members)

    def open_sink(self, on_cancel: Callable[[], None]) -> ffi_http.ByteSink:
        """Return the sink of a follower that may join later."""
        self._opened += 1
        is_watched = self._opened <= WATCHED_FIRST or self._opened % WATCHED_EACH == 0

        def leave() -> None:
            self.has_leaving = True
            on_cancel()

        return ffi_http.ByteSink(leave, idle=self._sinks.idle if is_watched else None)

    def join(self, member: _M) -> None:
        """Take in a follower that is at the crowd's position."""
        member.is_alone = False
        self._members.append(member)
        self._sinks.add(member.sink)
        self._watched += member.sink.is_watched

    def part(self, *, everybody: bool = False) -> list[_M]:
        """Let go of those who have gone and those without room, or of everybody, and return them."""
        is_full = False
        if self._sent >= LOOK_EACH:
            self._sent = 0
            is_full = self._sinks.is_full()
        if not (everybody or self.has_leaving or is_full):
            return []
        self.has_leaving = False
        left: list[_M] = []
        for place in reversed(range(len(self._members))):
            member = self._members[place]
            if everybody or member.is_gone or (is_full and not member.sink.has_room()):
                member.reader.position = self.position
                member.is_alone = True
                del self._members[place]
                self._sinks.remove(member.sink)
                self._watched -= member.sink.is_watched
                left.append(member)
        return left

    def is_busy(self) -> bool:
        """Return whether the runtime is still passing on what was sent last; to be asked again after a moment.

        If more were sent now, it would serve each response on its own, which takes it four times as long (with 500 of
        them 55 ms a token in place of 13), and it would go on so for as long as tokens come sooner than that.
        """
        idle = self._sinks.count_idle()
        if idle >= self._watched * IDLE_SHARE:
            return False
        now = asyncio.get_running_loop().time()
        if idle > self._idle:
            self._idle = idle
            self._progress_at = now
        return now - self._progress_at < MAX_STALL_S

    def take_fed(self) -> bool:
        """Return whether anything was sent since the last call."""
        is_fed, self._is_fed = self._is_fed, False
        return is_fed

    def send(self, data: ffi.JsObject) -> None:
        """Send data to all members. They are gone when that has failed for one: their clients resume."""
        self._is_fed = True
        self._sent += 1
        self._idle = 0
        self._progress_at = asyncio.get_running_loop().time()
        try:
            self._sinks.send(data)
        except Exception as error:
            if ffi.failure_of(error) is None:
                raise
            logger.exception("A response ended unnoticed", extra=log_fields("stream.feed_failed"))
            self.has_leaving = True
            for member in self._members:
                member.is_gone = True
