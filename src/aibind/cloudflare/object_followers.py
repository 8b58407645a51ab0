"""Feeding the followers of a stream that an object produces: one task for all of them.

There is no task and no promise for a follower. A message is encoded once, crosses to JavaScript once, and all followers
at one position are given the same bytes, by the runtime where they are many. A follower whose client does not read is
passed over, and is given what it has missed as one message when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import TypeAlias

from .._logging import log_fields
from .._time import Timer, call_later, sleep
from ..streams.batch import EventBatch
from ..streams.buffer import StreamBuffer
from ..streams.live_reader import LiveReader
from ..streams.position import END_ID, Position
from . import ffi, ffi_http
from .object_crowd import Crowd

__all__ = ["StreamFeed"]

MIN_CROWD = 8
"""Responses at one position from which on the runtime sends to all of them."""

LOOK_S = 0.001
"""Seconds until a crowd that is busy is looked at again."""

PAUSE_S = 0.000_004
"""Seconds for each response, before those of a large crowd are sent something: it is a fraction of what that takes."""

MIN_PAUSED = 250
"""Responses from which on there is such a pause, of a millisecond or more."""

RETRY_S = 0.05
"""Seconds until those who were passed over are looked at again."""

MAX_STALLED_S = 60.0
"""Seconds that a client may take nothing of what waits for it, before its response is cut: it can resume."""

logger = logging.getLogger("aibind")


class _Follower:
    """A reader: what it lacks, and where it goes.

    ``has_room`` tells whether it takes another message, ``enqueue`` sends what ``pack`` makes of bytes, and ``note`` is
    told the position after each message (None: nobody is).
    """

    __slots__ = ("enqueue", "has_room", "is_alone", "is_fed", "is_gone", "note", "pack", "reader", "stalled_ticks")

    def __init__(
        self,
        reader: LiveReader,
        has_room: Callable[[], bool],
        enqueue: Callable[[ffi.JsObject], object],
        pack: Callable[[bytes], ffi.JsObject],
        note: Callable[[int], object] | None = None,
    ) -> None:
        self.reader = reader
        self.has_room = has_room
        self.enqueue = enqueue
        self.pack = pack
        self.note = note
        self.is_gone = False
        self.is_alone = True  # in no crowd
        self.is_fed = True  # since the last tick
        self.stalled_ticks = 0

    async def close(self, error: str | None = None) -> None:
        """End what the reader is sent, with an error or without."""


class _Response(_Follower):
    """A response, whose body is read in another way, and is closed in the end."""

    __slots__ = ("_body", "sink")

    def __init__(
        self, reader: LiveReader, body: AsyncGenerator[bytes], crowd: Crowd[_Response], wake: Callable[[], None]
    ) -> None:
        def leave() -> None:
            self.is_gone = True
            wake()

        self._body = body
        self.sink = crowd.open_sink(leave)
        super().__init__(reader, self.sink.has_room, self.sink.enqueue, ffi_http.to_js_bytes)

    async def close(self, error: str | None = None) -> None:
        """End the response, which also ends for a client that has gone."""
        self.sink.close(error)
        await self._body.aclose()


def _always_has_room() -> bool:
    """Return that there is room: a socket takes all that it is sent."""
    return True


def _as_text(data: bytes) -> str:
    return data.decode()


class StreamFeed:
    """The followers of one stream in its producer's process. ``on_empty`` is called when the last of them has gone."""

    def __init__(self, buffer: StreamBuffer, *, idle_s: float, on_empty: Callable[[], object]) -> None:
        self._buffer = buffer
        self._tick_s = idle_s / 2  # so that nobody hears nothing for longer than idle_s
        self._on_empty = on_empty
        self._followers: list[_Follower] = []  # all of them
        self._alone: list[_Follower] = []  # those that are in no crowd
        self._crowds: dict[Callable[[EventBatch], bytes], Crowd[_Response]] = {}
        self._changed: asyncio.Future[bool] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None

    def add(self, reader: LiveReader, body: AsyncGenerator[bytes]) -> ffi.JsObject:
        """Return a ReadableStream of what ``reader`` lacks; ``body`` is closed when that has been sent, or is left."""
        crowd = self._crowds.get(reader.encode)
        if crowd is None:
            crowd = self._crowds[reader.encode] = Crowd(reader.encode)
        follower = _Response(reader, body, crowd, self._wake)
        self._add(follower)
        return follower.sink.stream

    def add_socket(self, reader: LiveReader, socket: ffi.JsObject, note: Callable[[int], object]) -> None:
        """Send a WebSocket what ``reader`` lacks, as text; ``note`` is told the id after each message."""
        self._add(_Follower(reader, _always_has_room, socket.send, _as_text, note))

    def _add(self, follower: _Follower) -> None:
        reader = follower.reader
        if reader.head:
            follower.enqueue(follower.pack(reader.head))
        self._followers.append(follower)
        self._alone.append(follower)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"aibind feed of {reader.stream_id}")
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(True)

    async def _run(self) -> None:
        self._timer = call_later(self._tick_s, self._tick)
        try:
            while self._followers:
                if self._buffer.has_moved:  # another producer goes on with the stream: they resume there
                    for follower in self._followers:
                        follower.is_gone = True
                    await self._let_go()
                    break
                self._changed = changed = self._buffer.waiter()  # before the look, so that no change is missed
                retry_s, is_more = self._feed()
                is_more = await self._read_dropped() or is_more
                await self._let_go()
                retry = call_later(retry_s, self._wake) if retry_s else None
                try:
                    if self._followers and not is_more:
                        await changed
                        if (members := sum(map(len, self._crowds.values()))) >= MIN_PAUSED:
                            await sleep(members * PAUSE_S)  # what the busy runtime is late with is sent along
                finally:
                    self._buffer.discard(changed)
                    if retry is not None:
                        retry.cancel()
        except Exception:
            logger.exception("Followers could not be fed", extra=log_fields("stream.feed_failed"))
            for follower in self._followers:
                follower.is_gone = True
            await self._let_go("The stream could not be read")
        finally:
            self._timer.cancel()
            self._task = None
            self._on_empty()

    def _feed(self) -> tuple[float, bool]:
        """Give each follower what it lacks.

        Return the seconds after which those who were passed over are to be looked at (0: there are none), and whether
        others lack more.
        """
        shared: dict[_Key, _Piece] = {}
        is_more = False
        retry_s = 0.0
        for crowd in list(self._crowds.values()):
            self._alone += crowd.part()
            if crowd and crowd.is_busy():
                retry_s = LOOK_S
            elif crowd:
                is_more = self._feed_crowd(crowd, shared) or is_more
        for follower in self._alone:  # for each token and follower: nothing here that can be avoided
            if follower.is_gone:
                continue
            reader = follower.reader
            try:
                if not follower.has_room():
                    retry_s = retry_s or RETRY_S
                    continue
                key = (reader.position, reader.encode, follower.pack)
                piece = shared.get(key)
                if piece is None:
                    piece = shared[key] = self._read(*key)
                if piece.data is not None:
                    follower.enqueue(piece.data)
                    follower.is_fed = True
                    follower.stalled_ticks = 0
                reader.position = piece.reached
                if follower.note is not None and piece.data is not None:
                    follower.note(END_ID if piece.is_end else piece.last_id)
                if piece.is_end:
                    follower.is_gone = True
                elif piece.is_more:
                    is_more = True
            except Exception as error:
                if ffi.failure_of(error) is None:
                    raise
                follower.is_gone = True  # its response was closed meanwhile
        self._gather()
        return retry_s, is_more

    def _feed_crowd(self, crowd: Crowd[_Response], shared: dict[_Key, _Piece]) -> bool:
        """Give the members of a crowd what they lack; return whether they lack more. It parts at the end."""
        key = (crowd.position, crowd.encode, ffi_http.to_js_bytes)
        piece = shared[key] = self._read(*key)
        if piece.is_end or not self._buffer.reaches(crowd.position):
            self._alone += crowd.part(everybody=True)
            return False
        crowd.position = piece.reached
        if piece.data is not None:
            crowd.send(piece.data)
        return piece.is_more

    def _gather(self) -> None:
        """Let those who are where a crowd is join it, and many that are at one place become one."""
        alone = [follower for follower in self._alone if not follower.is_gone]
        places: dict[_Place, list[_Response]] = {}
        for follower in alone:
            if isinstance(follower, _Response):
                places.setdefault((follower.reader.encode, follower.reader.position), []).append(follower)
        for (encode, position), found in places.items():
            crowd = self._crowds[encode]
            if not crowd:
                if len(found) < MIN_CROWD:
                    continue
                crowd.position = position
            if crowd.position == position:
                for follower in found:
                    if follower.has_room():
                        crowd.join(follower)
        self._alone = [follower for follower in alone if follower.is_alone]

    def _read(
        self, position: Position, encode: Callable[[EventBatch], bytes], pack: Callable[[bytes], ffi.JsObject]
    ) -> _Piece:
        buffer = self._buffer
        if not buffer.reaches(position):
            return _Piece(None, position)  # see _read_dropped
        batch, reached = buffer.read(position)
        if batch is None:
            return _Piece(None, reached)
        data = encode(batch)
        is_more = batch.end is None and reached != position and buffer.read(reached)[0] is not None
        is_end = batch.end is not None
        return _Piece(pack(data) if data else None, reached, batch.position, is_end=is_end, is_more=is_more)

    async def _read_dropped(self) -> bool:
        """Give those whose place the buffer has dropped a page from the store; return whether there were any."""
        reaches = self._buffer.reaches
        behind = [one for one in self._alone if not reaches(one.reader.position) and not one.is_gone and one.has_room()]
        for follower in behind:
            data, may_go_on = await follower.reader.read_dropped()
            if follower.is_gone:
                continue
            follower.enqueue(follower.pack(data))
            follower.is_fed = True
            follower.is_gone = not may_go_on
        return bool(behind)

    async def _let_go(self, error: str | None = None) -> None:
        """Close what those are sent who have gone, or have all."""
        gone = [follower for follower in self._followers if follower.is_gone]
        if not gone:
            return
        self._followers = [follower for follower in self._followers if not follower.is_gone]
        for crowd in self._crowds.values():
            crowd.has_leaving = True
        for follower in gone:
            await follower.close(error or ("The client took nothing for too long" if follower.stalled_ticks else None))

    def _tick(self) -> None:
        """Send a comment to those who were given nothing since the last tick; cut off those who take nothing."""
        pings: dict[Callable[[EventBatch], bytes], ffi.JsObject] = {}
        fed = [crowd.encode for crowd in self._crowds.values() if crowd.take_fed()]
        for follower in self._followers:
            if follower.is_gone:
                continue
            reader = follower.reader
            if not follower.is_alone and reader.encode in fed:
                follower.is_fed = True
                follower.stalled_ticks = 0
            try:
                if not follower.has_room():
                    follower.stalled_ticks += 1
                    if follower.stalled_ticks * self._tick_s > MAX_STALLED_S:
                        follower.is_gone = True
                        self._wake()
                elif not follower.is_fed and follower.note is None:
                    ping = pings.get(reader.encode)
                    if ping is None:
                        ping = ffi_http.to_js_bytes(reader.encode(EventBatch.silent(reader.position.id)))
                        pings[reader.encode] = ping
                    follower.enqueue(ping)
            except Exception as error:
                if ffi.failure_of(error) is None:
                    raise
                follower.is_gone = True
                self._wake()
            follower.is_fed = False
        self._timer = call_later(self._tick_s, self._tick)


_Place: TypeAlias = tuple[Callable[[EventBatch], bytes], Position]

_Key: TypeAlias = tuple[Position, Callable[[EventBatch], bytes], Callable[[bytes], ffi.JsObject]]
"""A position, how it is encoded, and what JavaScript is given of that."""


class _Piece:
    """What all followers at one position are given, and where they are then, also by the id that clients know."""

    __slots__ = ("data", "is_end", "is_more", "last_id", "reached")

    def __init__(
        self,
        data: ffi.JsObject | None,
        reached: Position,
        last_id: int = 0,
        *,
        is_end: bool = False,
        is_more: bool = False,
    ) -> None:
        self.data = data
        self.reached = reached
        self.last_id = last_id  # not of reached: it counts from a stored chunk, for an object that comes to life again
        self.is_end = is_end
        self.is_more = is_more
