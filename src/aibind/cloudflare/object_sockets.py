"""The WebSockets of an object: each is sent every reply of the object, and hibernates while there is none.

A socket's attachment survives hibernation. It has the streams that the socket was not sent to their end, and the id
of the last message of each, so that a socket goes on from there when the object comes to life again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .._json import is_object
from ..errors import StreamNotFoundError
from ..streams.durable import DurableStream
from ..streams.live_reader import LiveReader
from ..streams.position import END_ID
from ..streams.sse_body import encode_end
from ..streams.store import StreamEnd, StreamStore
from . import ffi, ffi_http
from .object_followers import StreamFeed

__all__ = ["ObjectSockets"]


class _Socket:
    """One socket, and the id of the last message that it was sent of each stream under way."""

    def __init__(self, raw: ffi.JsObject) -> None:
        self.raw = raw
        attached: Any = ffi.from_js(raw.deserializeAttachment())
        self.after: dict[str, int] = dict(attached) if is_object(attached) else {}

    def note(self, stream_id: str, after: int) -> None:
        """Note the id of the last message of a stream that was sent."""
        if after == END_ID:
            self.after.pop(stream_id, None)
        else:
            self.after[stream_id] = after
        self.raw.serializeAttachment(ffi.to_js_object(self.after))


class ObjectSockets:
    """The sockets of one object. ``feed_of`` returns the feed of a live stream's followers."""

    def __init__(self, context: ffi.JsObject, store: StreamStore, feed_of: Callable[[LiveReader], StreamFeed]) -> None:
        self._context = context
        self._store = store
        self._feed_of = feed_of
        self._sockets = [_Socket(raw) for raw in context.getWebSockets()]

    def __repr__(self) -> str:
        return f"<ObjectSockets open={len(self._sockets)}>"

    async def accept(self, live: list[str], stream_id: str | None, after: int) -> Any:
        """Accept a socket, and return the response with the client's end.

        It is sent the ``live`` streams from their beginning, but the one with ``stream_id`` after the message with id
        ``after``; that one even if it has ended.
        """
        client, server = ffi_http.make_socket_pair()
        self._context.acceptWebSocket(server)
        ffi_http.answer_pings(self._context)
        socket = _Socket(server)
        self._sockets.append(socket)
        for live_id in live:
            if live_id != stream_id:
                await self._follow(socket, live_id, None)
        if stream_id is not None:
            await self._follow(socket, stream_id, after)
        return ffi_http.make_response(101, {}, b"", socket=client)

    def begin(self, stream_id: str) -> None:
        """Send a stream that has begun to all sockets."""
        for socket in list(self._sockets):
            self._follow_live(socket, stream_id, None)

    async def go_on(self) -> None:
        """Send each socket the rest of the streams that it was being sent when the object was evicted."""
        for socket in list(self._sockets):
            for stream_id, after in list(socket.after.items()):
                await self._follow(socket, stream_id, after)

    def remove(self, raw: ffi.JsObject) -> None:
        """Forget a socket that was closed."""
        self._sockets = [socket for socket in self._sockets if socket.raw != raw]

    async def _follow(self, socket: _Socket, stream_id: str, after: int | None) -> None:
        if self._follow_live(socket, stream_id, after):
            return
        try:
            await self._send_stored(socket, stream_id, after)
            socket.note(stream_id, END_ID)
        except Exception as error:
            if ffi.failure_of(error) is None:
                raise
            self.remove(socket.raw)  # it was closed meanwhile

    def _follow_live(self, socket: _Socket, stream_id: str, after: int | None) -> bool:
        """Send a socket what it lacks of a stream that the object produces; return False when it does not."""
        producer = DurableStream.find(self._store, stream_id)
        live = producer.response(after=after).live if producer is not None else None
        if live is None:
            return False
        try:
            socket.note(stream_id, after or 0)
            self._feed_of(live).add_socket(live, socket.raw, partial(socket.note, stream_id))
        except Exception as error:
            if ffi.failure_of(error) is None:
                raise
            self.remove(socket.raw)
        return True

    async def _send_stored(self, socket: _Socket, stream_id: str, after: int | None) -> None:
        try:
            response = await DurableStream.resume(self._store, stream_id, after)
        except (StreamNotFoundError, ValueError) as error:
            socket.raw.send(encode_end(StreamEnd("error", str(error))).decode())
            return
        async for data in response.body:
            socket.raw.send(data.decode())
