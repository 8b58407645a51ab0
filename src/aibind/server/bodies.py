"""Reading the bodies of requests, within bounds of size, time and memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from .._time import timeout
from ..errors import RequestError

__all__ = [
    "BODY_TIMEOUT_S",
    "MAX_BODY_BYTES",
    "MAX_PENDING_BODY_BYTES",
    "BodyReader",
    "ClientGoneError",
    "too_many",
]

MAX_BODY_BYTES = 10 * 1024 * 1024
"""The default limit of a request body, in bytes: a conversation with a few pictures."""

BODY_TIMEOUT_S = 60.0
"""The default limit of the time that a body may take to arrive, in seconds."""

MAX_PENDING_BODY_BYTES = 12 * 1024 * 1024
"""The default limit of the memory that all bodies hold that are still arriving, in bytes."""

SMALL_BYTES = 64 * 1024
"""Bytes of a body that are always taken, so that large bodies of some clients keep no prompt of another away."""

RETRY_AFTER_S = 5

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """Raised by ``read_body`` when the client disconnects in the middle of its request, so that no answer is needed."""


def too_many(message: str) -> RequestError:
    """Return the refusal of what may be asked for again in a few seconds."""
    return RequestError(message, 429, headers={"Retry-After": str(RETRY_AFTER_S)})


@dataclass(slots=True)
class _Pending:
    """A body that is arriving, and the bytes that are counted for it: from its start all that it has declared."""

    reserved: int = 0
    data: bytearray = field(default_factory=bytearray)


class BodyReader:
    """Reads the bodies of the requests to one app.

    A body has at most ``max_bytes``, and all that are still arriving ``max_pending_bytes`` together, by what they have
    declared or, without that, by what has come. Those of at most 64 KiB are always taken. ``timeout_s`` is the time
    that a body may take (None: any). Raises ValueError for bounds of no use.
    """

    def __init__(
        self,
        max_bytes: int = MAX_BODY_BYTES,
        timeout_s: float | None = BODY_TIMEOUT_S,
        max_pending_bytes: int | None = MAX_PENDING_BODY_BYTES,
    ) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_body_bytes is {max_bytes}: use 0 or more")
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"body_timeout_s is {timeout_s}: use a number of seconds above 0, or None for no limit")
        if max_pending_bytes is not None and max_pending_bytes < 0:
            raise ValueError(f"max_pending_body_bytes is {max_pending_bytes}: use 0 or more, or None for no limit")
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0

    async def read(self, receive: Receive, length: str = "") -> bytearray:
        """Return a body, whose Content-Length is ``length``, from the messages of ASGI.

        Raises RequestError for one that is too large (413), that takes too long (408) or for which there is no memory
        at the moment (429), and ClientGoneError when the client disconnects.
        """
        declared = 0
        if length.isdecimal():
            if len(length) > 18 or int(length) > self._max_bytes:
                raise self._too_large()
            declared = int(length)
        body = _Pending()
        try:
            self._reserve(body, declared)
            async with timeout(self._timeout_s):
                await self._receive(receive, body)
            return body.data
        except TimeoutError as error:
            raise RequestError(
                f"The body took longer than {self._timeout_s:g} s, which is this server's limit (body_timeout_s)", 408
            ) from error
        finally:
            self._pending_bytes -= body.reserved
            body.data = bytearray()  # now: the traceback of an error keeps it until the next garbage collection

    async def _receive(self, receive: Receive, body: _Pending) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            piece = message.get("body", b"")
            size = len(body.data) + len(piece)
            if size > self._max_bytes:
                raise self._too_large()
            self._reserve(body, size)
            body.data += piece
            if not message.get("more_body"):
                return

    def _reserve(self, body: _Pending, size: int) -> None:
        """Count so many bytes of a body as pending. Raises RequestError when there is no memory for them."""
        more = size - body.reserved
        if more <= 0:
            return
        limit = self._max_pending_bytes
        if limit is not None and size > SMALL_BYTES and self._pending_bytes + more > limit:
            raise too_many(
                f"The bodies of unfinished requests have {self._pending_bytes:,} bytes, and this server allows "
                f"{limit:,} at one time (max_pending_body_bytes): try later"
            )
        body.reserved = size
        self._pending_bytes += more

    def _too_large(self) -> RequestError:
        return RequestError(f"The body is larger than {self._max_bytes} bytes", 413)
