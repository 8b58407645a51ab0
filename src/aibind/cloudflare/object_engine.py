"""The events of a Durable Object: requests, alarms, and coming to life again.

An engine holds no state but its object's: objects share an interpreter, and one must not wake what another waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .._time import now_ms
from ..errors import RequestError, SqliteError
from ..server import DEFAULT_PREFIX, Endpoints, HttpResponse, StreamHandler
from ..server.bodies import MAX_BODY_BYTES
from ..server.requests import parse_after
from ..streams.live_reader import LiveReader
from ..streams.response import Body
from . import ffi, ffi_http
from .object_access import ACCESS_HEADER, granted
from .object_followers import StreamFeed
from .object_sockets import ObjectSockets
from .object_statements import read_statements, write_answer, write_failure
from .object_store import ObjectStore
from .object_waking import settle_orphans

__all__ = ["ObjectEngine"]

ALARM_MARGIN_MS = 100
"""Milliseconds after the end of a lease or a time to live until the alarm."""

MIN_ALARM_MS = 1_000
"""Milliseconds until an alarm, at least."""

FLUSH_MS = 1_000
"""Milliseconds between two writes of a reply: followers are told at once, and each row is billed."""


class ObjectEngine:
    """One object. ``ctx`` is as the runtime gives it or as the SDK wraps it.

    ``make_handler`` is called once, with the options of a StreamHandler that depend on the object. ``prefix`` is that
    of the endpoints' paths, and the times to live are in milliseconds.
    """

    def __init__(
        self,
        ctx: object,
        make_handler: Callable[..., StreamHandler],
        *,
        prefix: str = DEFAULT_PREFIX,
        stream_ttl_ms: int = 300_000,
        session_ttl_ms: int | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._context = ffi.context_of(ctx)
        self._stream_ttl_ms = stream_ttl_ms
        self._prefix_of_streams = f"{self.name}." if self.name else ""
        self.store = ObjectStore(
            self._context.storage,
            stream_ttl_ms=stream_ttl_ms,
            session_ttl_ms=session_ttl_ms,
            prefix=self._prefix_of_streams,
        )
        self._sockets = ObjectSockets(self._context, self.store.streams, self._feed_of)
        self._make_handler = make_handler
        self._prefix = prefix
        self._max_body_bytes = max_body_bytes
        self._handler: StreamHandler | None = None
        self._endpoints: dict[bool, Endpoints] = {}  # by whether a router has asked who may do what
        self._feeds: dict[str, StreamFeed] = {}
        self._waking: asyncio.Future[None] | None = None
        self._events = 0  # under way
        self._alarm_at: int | None = None  # as far as it is known

    def __repr__(self) -> str:
        return f"<ObjectEngine {self.name!r}>"

    @property
    def name(self) -> str:
        """The name of the object; empty for one that has none."""
        name = self._context.id.name
        return "" if ffi.is_nothing(name) else str(name)

    @property
    def handler(self) -> StreamHandler:
        """The handler of the object's replies, made when it is first needed."""
        if self._handler is None:
            self._handler = self._make_handler(
                resumable=True,
                store=self.store.streams,
                conversations=self.store.conversations,
                keep_alive=self._keep_alive,
                flush_interval_ms=FLUSH_MS,
                stream_prefix=self._prefix_of_streams,
            )
        return self._handler

    # --- events ---

    async def fetch(self, request: object) -> Any:
        """Answer a request to the endpoints."""
        asked = ffi_http.read_request(request)
        url = urlsplit(asked.url)

        async def read_body() -> bytes:
            return await read_limited(asked, self._max_body_bytes)

        async def answer() -> Any:
            if asked.headers.get("upgrade", "").lower() == "websocket":
                return await self._connect(parse_qs(url.query))
            endpoints = self._endpoints_for(asked.headers)
            response = await endpoints.answer(asked.method, url.path, url.query, asked.headers, read_body)
            return self.respond(response)

        return await self.run(answer)

    async def run_statements(self, text: str) -> str:
        """Run statements of a DurableObjectStreamStore, and return their results or their failure, all as JSON."""

        async def run() -> str:
            try:
                results = await self.store.client.batch(read_statements(text))
            except SqliteError as error:
                return write_failure(error, self.store.changes.version)
            if any(result.rows_written for result in results):
                self.store.changes.note()
                if self._alarm_at is None:
                    await self._set_next_alarm()
            return write_answer(results, self.store.changes.version)

        answer: str = await self.run(run)
        return answer

    async def wait_for_change(self, version: int, timeout_s: float) -> int:
        """Wait until a stream has changed since it had this version, ``timeout_s`` seconds at most; return the next."""

        async def wait() -> int:
            return await self.store.changes.wait(version, timeout_s)

        found: int = await self.run(wait)
        return found

    async def forget_socket(self, socket: ffi.JsObject) -> None:
        """Note that a socket was closed."""
        self._sockets.remove(socket)

    async def alarm(self) -> None:
        """Remove what has expired, recover lost answers, and set the next alarm, or delete all when nothing is left."""
        self._alarm_at = None
        await self.run(self._sweep)
        if self._events == 0 and await self.store.is_empty():
            self._context.storage.deleteAll()
            self._waking = None  # the tables are gone as well
            return
        await self._set_next_alarm()

    async def run(self, handle: Callable[[], Awaitable[Any]]) -> Any:
        """Handle an event, once the object is awake."""
        self._events += 1
        try:
            await self._wake()
            return await handle()
        finally:
            self._events -= 1

    def respond(self, response: HttpResponse[Body]) -> Any:
        """Return a response as JavaScript takes it."""
        if isinstance(response.body, bytes):
            return ffi_http.make_response(response.status, response.headers, response.body)
        if response.live is None:
            return ffi_http.make_response(response.status, response.headers, ffi_http.stream_body(response.body))
        body = self._feed_of(response.live).add(response.live, response.body)
        return ffi_http.make_response(response.status, response.headers, body)

    def _feed_of(self, live: LiveReader) -> StreamFeed:
        feed = self._feeds.get(live.stream_id)
        if feed is None:
            feed = self._feeds[live.stream_id] = StreamFeed(
                live.buffer, idle_s=live.idle_s, on_empty=lambda: self._feeds.pop(live.stream_id, None)
            )
        return feed

    async def _connect(self, fields: Mapping[str, list[str]]) -> Any:
        """Accept a socket, which goes on with the stream ``id`` after the message ``after``."""
        stream_id = fields.get("id", [None])[0]
        after = parse_after(fields.get("after", [None])[0], stream_id)
        live = [one.stream_id for one in await self.store.active_streams()]
        return await self._sockets.accept(live, stream_id, after)

    # --- coming to life ---

    async def _wake(self) -> None:
        if self._waking is None:
            self._waking = asyncio.ensure_future(self._come_to_life())
        waking = self._waking
        try:
            await asyncio.shield(waking)
        except BaseException:
            if waking is self._waking and waking.done():
                self._waking = None  # the next event tries again
            raise

    async def _come_to_life(self) -> None:
        await self.store.migrate()
        if await settle_orphans(self.store, self.handler):
            self._set_alarm(now_ms() + MIN_ALARM_MS)  # which recovers the answers of conversations
        await self._sockets.go_on()

    # --- the alarm ---

    def _keep_alive(self, producer: Awaitable[None]) -> None:
        """Keep the object alive for a producer; if that fails, an alarm finds out."""
        produced = asyncio.ensure_future(producer)
        produced.add_done_callback(lambda _: self._set_alarm(now_ms() + self._stream_ttl_ms))
        ffi.wait_until(asyncio.ensure_future(self._hold(produced)))
        self._set_alarm(now_ms() + self.store.streams.lease_ms)
        for stream_id in self.store.take_created():
            self._sockets.begin(stream_id)

    async def _hold(self, produced: asyncio.Future[None]) -> None:
        """Wait for a producer, and until what it wrote is on disk: an eviction that comes sooner drops the end."""
        await asyncio.wait([produced])
        await ffi.settle(self._context.storage, "sync")
        await produced  # so that a failure is logged

    async def _sweep(self) -> None:
        await self.handler.sweep()
        await self.store.conversations.cleanup()

    async def _set_next_alarm(self) -> None:
        due = await self.store.next_due()
        if due is not None:
            self._set_alarm(due)
        elif self._events:
            self._set_alarm(now_ms() + self.store.streams.lease_ms)

    def _set_alarm(self, due_ms: int) -> None:
        """Set the alarm to a time, unless it is set to an earlier one."""
        now = now_ms()
        due_ms = max(due_ms + ALARM_MARGIN_MS, now + MIN_ALARM_MS)
        if self._alarm_at is not None and now < self._alarm_at <= due_ms:
            return
        self._alarm_at = due_ms
        self._context.storage.setAlarm(due_ms)

    # --- the endpoints ---

    def _endpoints_for(self, headers: dict[str, str]) -> Endpoints:
        is_granted = ACCESS_HEADER in headers
        found = self._endpoints.get(is_granted)
        if found is None:
            found = self._endpoints[is_granted] = Endpoints(
                self.handler, prefix=self._prefix, authorize=granted if is_granted else None
            )
        return found


async def read_limited(request: ffi_http.JsRequest, max_bytes: int) -> bytes:
    """Return the body of a request. Raises RequestError, with status 413, for one that is too large."""
    if ffi.is_nothing(request.raw.body):
        return b""
    data = bytearray()
    parts = ffi_http.read_stream(request.raw.body)
    try:
        async for part in parts:
            data += part
            if len(data) > max_bytes:
                raise RequestError(f"The body is larger than {max_bytes} bytes", 413)
    finally:
        await parts.aclose()
    return bytes(data)
