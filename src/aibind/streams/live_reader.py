"""A reader of a stream whose producer runs in this process, for a host that feeds many readers by one task."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import AibindError
from .batch import EventBatch
from .buffer import StreamBuffer
from .following import failure_end, read_dropped
from .position import Position
from .store import StreamStore

__all__ = ["LiveReader"]


class LiveReader:
    """What the body of a response yields, to be taken without waiting.

    A host that sends many bodies reads this in place of the body: ``head`` first, then what ``buffer`` has past
    ``position``, encoded by ``encode``, which is one object for all readers that are sent the same. The host moves
    ``position``, sends ``encode`` of an idle batch after ``idle_s`` seconds of silence, and closes the body in the end.
    """

    __slots__ = ("_store", "buffer", "encode", "head", "idle_s", "position", "stream_id")

    def __init__(
        self,
        buffer: StreamBuffer,
        store: StreamStore,
        stream_id: str,
        position: Position,
        encode: Callable[[EventBatch], bytes],
        *,
        idle_s: float,
        head: bytes = b"",
    ) -> None:
        self.buffer = buffer
        self.stream_id = stream_id
        self.position = position
        self.encode = encode
        self.idle_s = idle_s
        self.head = head
        self._store = store

    def __repr__(self) -> str:
        return f"<LiveReader {self.stream_id!r} after={self.position.id}>"

    async def read_dropped(self) -> tuple[bytes, bool]:
        """Return what the buffer has dropped past the position, up to a page, and whether the reader may go on.

        A failure to read it is the end of what the reader is sent.
        """
        try:
            batches, self.position = await read_dropped(self.buffer, self._store, self.stream_id, self.position)
        except AibindError as error:
            return self.encode(EventBatch.silent(self.position.id, failure_end(error, self.stream_id))), False
        return b"".join(map(self.encode, batches)), True
