"""Requests of the tests outside, beside checks: SQL, streams under every condition, measurements."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from workers import Response, import_from_javascript, wait_until

from aibind.cloudflare import OpenAIFetchModel, wrap_d1
from aibind.errors import AibindError, ModelError
from aibind.models import ModelRequest, ReplyReference, TextDelta
from aibind.sqlite import SqliteStreamStore
from aibind.streams import DurableStream, HttpResponse, StreamEvent
from aibind.streams.normalize import TextNormalizer

from . import asking, fault_runs, turns
from .bench import Bench

SAID = "word{} "

_shared: dict[str, SqliteStreamStore] = {}
_pumps: set[asyncio.Future[None]] = set()


async def serve(worker: Any, request: Any, path: str) -> Any:
    body = json.loads(await request.text() or "null")
    if path == "/sql":
        result = await wrap_d1(worker.env.NATIVE_DB).execute(body["sql"], body.get("args", []))
        return _json({"rows": result.rows})
    if path == "/empty":
        await Bench("raw", worker.env, import_from_javascript("cloudflare:workers").env).empty()
        return _json({})
    if path.startswith("/turns/"):
        return _json(await turns.serve(worker.env, path, body))
    if path.startswith("/client/"):
        return _json(await asking.serve(worker.env, path, body))
    if path == "/faults":
        return _json(await fault_runs.play(worker.env, body["kind"], body["seeds"]))
    if path == "/model":
        return _json(await _ask_model(**body))
    store = SqliteStreamStore(wrap_d1(worker.env.DB), lease_ms=body.get("lease_ms", 30_000))
    if body.get("shared"):  # one store for all requests, as a module would have that makes it when it is imported
        store = _shared.setdefault("store", store)
    if path == "/produce":
        return await _produce(worker, request, store, body)
    if path == "/resume":
        try:
            return await send(await DurableStream.resume(store, body["id"], body.get("after", 0)))
        except AibindError as error:
            return Response(str(error), status=404)
    if path == "/stop":
        await DurableStream.stop_by_id(store, body["id"])
        return _json({})
    if path == "/cost":
        return _json(await _cost(store, SqliteStreamStore(wrap_d1(worker.env.NATIVE_DB)), body))
    if path == "/follow":
        return _json(await _follow(store, body))
    return Response("not found", status=404)


def _json(value: Any) -> Any:
    return Response(json.dumps(value), headers={"Content-Type": "application/json"})


async def model(tokens: int, rate: float) -> AsyncIterator[str]:
    """Yield numbered words at an even pace."""
    began = asyncio.get_running_loop().time()
    for number in range(tokens):
        await asyncio.sleep(max(0.0, began + number / rate - asyncio.get_running_loop().time()))
        yield SAID.format(number)


async def _ask_model(
    base_url: str,
    *,
    so_far: str | None = None,
    reference: str | None = None,
    stop_after: int | None = None,
    cancel: str | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask a model at an endpoint, go on with an answer where there is ``so_far``, or cancel one."""
    fields = {"api": "responses", "background": True, "base_url": base_url, "backoff_s": 0.05, **(options or {})}
    model = OpenAIFetchModel("m", **fields)
    if cancel is not None:
        await model.cancel(cancel)
        return {}
    request = ModelRequest([{"role": "user", "content": "hello"}])
    told: dict[str, Any] = {"text": "", "reference": None, "error": None}
    known = [TextDelta(so_far)] if so_far else []
    events = model.stream(request) if so_far is None else model.resume(request, known, reference)
    normalizer = TextNormalizer()
    try:
        async for event in events:
            if isinstance(event, ReplyReference):
                told["reference"] = event.value
            elif isinstance(event, TextDelta):
                told["text"] += normalizer.clean(event.text)
            if stop_after is not None and len(told["text"]) >= stop_after:
                break
    except ModelError as error:
        told |= {"error": error.code, "status": error.status, "said": str(error)}
    finally:
        await events.aclose()
    return told


# --- streams to be left, killed and followed ---


async def _produce(worker: Any, request: Any, store: SqliteStreamStore, asked: dict[str, Any]) -> Any:
    """Stream a reply through the SDK's ASGI adapter, or by ourselves; with keep_alive or without."""

    async def create() -> HttpResponse[AsyncGenerator[bytes, None]]:
        stream = await DurableStream.create(
            store,
            model(asked["tokens"], asked["rate"]),
            stream_id=asked["id"],
            keep_alive=wait_until if asked["keep_alive"] else None,
        )
        return stream.response()

    if asked["through"] == "entry":
        return await send(await create())
    import asgi

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        response = await create()
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        async for data in response.body:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    from js import Request

    return await asgi.fetch(app, Request.new(request.url), worker.env, worker.ctx)


async def send(response: HttpResponse[AsyncGenerator[bytes, None]]) -> Any:
    """Answer with a body of our own making, as an entry point without a framework does."""
    from js import TransformStream
    from pyodide.ffi import JsException, to_js

    pipe = TransformStream.new()
    writer = pipe.writable.getWriter()

    async def pump() -> None:
        try:
            async for data in response.body:
                await writer.write(to_js(data))
            await writer.close()
        except JsException:
            pass  # the client has gone

    pumping = asyncio.ensure_future(pump())
    _pumps.add(pumping)
    pumping.add_done_callback(_pumps.discard)
    return Response(pipe.readable, headers=dict(response.headers))


# --- measurements ---


async def _cost(store: SqliteStreamStore, uncounted: SqliteStreamStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Stream a reply with a live reader; tell how long the model took, and how much later the stream was at its end."""
    loop = asyncio.get_running_loop()
    finished_at = 0.0

    async def source() -> AsyncIterator[StreamEvent | str]:
        nonlocal finished_at
        async for token in model(asked["tokens"], asked["rate"]):
            yield StreamEvent("tool_call_delta", token) if asked.get("events") else token
        finished_at = loop.time()

    began = loop.time()
    stream = await DurableStream.create(store, source(), stream_id=asked["id"])
    received = b"".join([data async for data in stream.response().body])
    read_at = loop.time()
    await stream.wait_closed()
    ended_at = loop.time()
    status = await uncounted.get_status(stream.id)
    assert status is not None
    stored = [event.data async for chunk in uncounted.read_from(stream.id) for event in chunk.events]
    return {
        "whole": "".join(stored) == "".join(SAID.format(number) for number in range(asked["tokens"])),
        "events": len(stored),
        "model_s": finished_at - began,
        "reader_s": read_at - began,
        "stream_s": ended_at - began,
        "bytes": len(received),
        "state": status.state,
    }


async def _follow(store: SqliteStreamStore, asked: dict[str, Any]) -> dict[str, Any]:
    """Follow a stream of another isolate; tell when each word arrived, in milliseconds since the epoch."""
    while await store.get_status(asked["id"]) is None:
        await asyncio.sleep(0.02)
    arrived: list[float] = []
    text = ""
    async for page in store.read_pages(asked["id"]):
        now = time.time() * 1000
        text += "".join(chunk.event.data for chunk in page.chunks)
        arrived += [now] * (text.count(" ") - len(arrived))
    return {"arrived": arrived, "text": text}
