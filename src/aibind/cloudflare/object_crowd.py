"""Followers of a stream who are at one position, and whom the runtime sends the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ..streams.batch import EventBatch
from ..streams.live_reader import LiveReader
from ..streams.position import Position
from . import ffi, ffi_http

__all__ = ["Crowd", "Member"]


class Member(Protocol):
    """A follower whose response is a sink."""

    reader: LiveReader
    sink: ffi_http.ByteSink
    is_gone: bool
    is_alone: bool


_M = TypeVar("_M", bound=Member)


class Crowd(Generic[_M]):
    """Members at one position, which are sent what ``encode`` makes of it.

    A call from Python for each member and token would take about 30 µs. The members' readers are told their position
    when they leave.
    """

    def __init__(self, position: Position, encode: Callable[[EventBatch], bytes]) -> None:
        self.position = position
        self.encode = encode
        self._is_fed = False
        self._members: list[_M] = []
        self._sinks = ffi_http.ByteSinks()

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self._members)

    def join(self, member: _M) -> None:
        """Take in a follower that is at the crowd's position."""
        member.is_alone = False
        self._members.append(member)
        self._sinks.add(member.sink)

    def part(self, *, everybody: bool = False) -> list[_M]:
        """Let go of those who have gone and those without room, or of everybody, and return them."""
        if not everybody and not self._sinks.is_full() and not any(member.is_gone for member in self._members):
            return []
        left: list[_M] = []
        for place in reversed(range(len(self._members))):
            member = self._members[place]
            if everybody or member.is_gone or not member.sink.has_room():
                member.reader.position = self.position
                member.is_alone = True
                del self._members[place]
                self._sinks.remove(place)
                left.append(member)
        return left

    def take_fed(self) -> bool:
        """Return whether anything was sent since the last call."""
        is_fed, self._is_fed = self._is_fed, False
        return is_fed

    async def send(self, data: ffi.JsObject) -> None:
        """Send data to all members."""
        self._is_fed = True
        await self._sinks.send(data)
