"""A response of any web framework made durable: recorded as it is sent, and followed from its stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from .._closing import close_iterator
from .._kinds import kind_of
from ..errors import StreamExistsError, StreamNotFoundError
from ..protocols.recorded import ID_PREFIX, MessageReader, Recorded, RecordedEncoder, record, source_id
from ..streams.batch import EventBatch
from ..streams.durable import HEARTBEAT_MS, DurableStream, KeepAlive, follow
from ..streams.store import StreamStore

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["durable_response", "resume_response"]

_OF_ONE_RESPONSE = ("content-length", "set-cookie", "date", "connection", "transfer-encoding")
"""Headers that must not be sent again: they concern one connection, or one client."""

SEARCH_S = 0.25
"""Seconds without news after which an id that a source gave is taken for one of another stream."""


async def durable_response(
    store: StreamStore,
    source: object,
    *,
    id: str | None = None,
    last_event_id: str | None = None,
    session_id: str | None = None,
    owner: str | None = None,
    media_type: str = "text/event-stream",
    headers: Mapping[str, str] | None = None,
    flush_interval_ms: float | None = None,
    heartbeat_ms: float = HEARTBEAT_MS,
    keep_alive: KeepAlive | None = None,
) -> Response:
    """Return a Starlette response that goes on when its client leaves, and can be resumed from any process.

    ::

        @app.post("/chat/{id}")
        async def chat(id: str) -> Response:
            return await durable_response(store, answer(), id=id)

    ``source`` is an async iterable of text or bytes, whose ``media_type`` and ``headers`` are given, or a Starlette
    ``StreamingResponse``, which has both. It is read to its end by a task of its stream. Its bytes are stored and sent
    as they are; a message of server-sent events without an id is given one. ``id`` is the stream's (None: random, in
    the header ``X-Stream-Id``). When it is taken, ``source`` is closed, and the response follows the stream that has
    it, after ``last_event_id`` if given. ``session_id`` and ``owner`` are recorded. The other options are those of
    :meth:`DurableStream.create`. Stop the stream with :meth:`DurableStream.stop_by_id`.

    Raises TypeError for a source of another kind, StreamExistsError for an id that another owner has taken, and the
    store's errors.
    """
    recorded, pieces = _recorded(source, media_type, headers)
    try:
        stream = await DurableStream.create(
            store,
            record(recorded, pieces),
            stream_id=id,
            session_id=session_id,
            owner=owner,
            flush_interval_ms=flush_interval_ms,
            heartbeat_ms=heartbeat_ms,
            keep_alive=keep_alive,
            prepare=_nothing,
        )
    except StreamExistsError:
        await close_iterator(pieces)
        status = await store.get_status(id or "", owner=owner)
        if status is None:
            raise
        return await resume_response(store, id, last_event_id=last_event_id, owner=owner, heartbeat_ms=heartbeat_ms)
    except BaseException:
        await close_iterator(pieces)
        raise
    return _respond(recorded, stream.id, stream.follow(idle_s=heartbeat_ms / 1000))


async def resume_response(
    store: StreamStore,
    id: str | None = None,
    *,
    session_id: str | None = None,
    last_event_id: str | None = None,
    owner: str | None = None,
    heartbeat_ms: float = HEARTBEAT_MS,
) -> Response:
    """Return the rest of a durable response after ``last_event_id``, or all of it, followed live while it goes on.

    Name the stream by its ``id``, or by the session of which it is the newest live one. The response is 204 when there
    is none, when it is another owner's, and when it has ended and the client has all of it, which tells an
    ``EventSource`` to stop. Only server-sent events resume after an id; any other body is sent from its beginning.

    Raises ValueError unless exactly one of ``id`` and ``session_id`` is given, and the store's errors.
    """
    if (id is None) == (session_id is None):
        raise ValueError("resume_response takes the id of a stream or a session_id: give one of them")
    if session_id is not None:
        live = await store.live_streams(session_id)
        id = live[-1] if live else None
    status = None if id is None else await store.get_status(id, owner=owner)
    if id is None or status is None:
        return _nothing_left()
    try:
        recorded = await _read_response(store, id)
        batches = await _batches_after(store, id, recorded, last_event_id, heartbeat_ms / 1000)
    except StreamNotFoundError:
        return _nothing_left()
    if status.is_active or last_event_id is None:
        return _respond(recorded, id, batches)
    first = await anext(batches)
    if first.end is not None and first.end.state != "error" and not first.events:
        await batches.aclose()
        return _nothing_left()
    return _respond(recorded, id, _chain(first, batches))


async def _nothing() -> None:
    """Prepare nothing: the source is started once the stream is ours."""


def _recorded(
    source: Any, media_type: str, headers: Mapping[str, str] | None
) -> tuple[Recorded, AsyncIterable[str | bytes]]:
    body: Any = getattr(source, "body_iterator", source)
    status = 200
    found: dict[str, str] = {"content-type": media_type}
    if body is not source:
        status = source.status_code
        found = dict(source.headers)
    found.update({name.lower(): value for name, value in (headers or {}).items()})
    for name in _OF_ONE_RESPONSE:
        found.pop(name, None)
    found.setdefault("cache-control", "no-cache")
    if not hasattr(body, "__aiter__"):
        raise TypeError(
            f"source is {kind_of(source)}, but must be an async iterable of str or bytes, or a StreamingResponse"
        )
    return Recorded(status, tuple(found.items())), body


async def _read_response(store: StreamStore, id: str) -> Recorded:
    async with aclosing(await follow(store, id)) as batches:
        async for batch in batches:
            for _, event in batch.events:
                recorded = Recorded.of(event)
                if recorded is None:
                    raise ValueError(f"Stream {id!r} was not begun by durable_response: follow it with its handler")
                return recorded
    raise StreamNotFoundError(id)


async def _batches_after(
    store: StreamStore, id: str, recorded: Recorded, last_event_id: str | None, idle_s: float
) -> AsyncGenerator[EventBatch]:
    after = 0
    if last_event_id is not None and recorded.is_sse:
        text = last_event_id.removeprefix(ID_PREFIX)
        if text == last_event_id:
            after = await _find(store, id, last_event_id)
        elif text.isascii() and text.isdigit() and len(text) < 17:
            after = int(text)
    try:
        return await follow(store, id, after, idle_s=idle_s)
    except ValueError:  # no id of ours
        return await follow(store, id, idle_s=idle_s)


async def _find(store: StreamStore, id: str, given: str) -> int:
    """Return our id of the last message that the source gave an id, 0 when there is none."""
    found = 0
    reader = MessageReader()
    async with aclosing(await follow(store, id, idle_s=SEARCH_S)) as batches:
        async for batch in batches:
            messages, reader = reader.read(batch)
            for our_id, message in messages:
                if source_id(message) == given:
                    found = our_id or found
            if found or batch.is_idle:
                break
    return found


async def _chain(first: EventBatch, batches: AsyncGenerator[EventBatch]) -> AsyncGenerator[EventBatch]:
    async with aclosing(batches):
        yield first
        if first.end is None:
            async for batch in batches:
                yield batch


async def _body(recorded: Recorded, batches: AsyncGenerator[EventBatch]) -> AsyncGenerator[bytes]:
    encoder = RecordedEncoder(recorded)
    async with aclosing(batches):
        async for batch in batches:
            data, encoder = batch.share(encoder)
            if data:
                yield data
            if batch.end is not None and batch.end.state == "error" and not recorded.is_sse:
                raise ConnectionError(f"The response was cut short: {batch.end.error or 'error'}")


def _respond(recorded: Recorded, id: str, batches: AsyncGenerator[EventBatch]) -> Response:
    from starlette.responses import StreamingResponse

    headers = {**dict(recorded.headers), "x-stream-id": id}
    return StreamingResponse(_body(recorded, batches), recorded.status, headers)


def _nothing_left() -> Response:
    from starlette.responses import Response

    return Response(status_code=204, headers={"Cache-Control": "no-store"})
