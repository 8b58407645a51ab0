"""What making a route durable adds to each event that it sends.

A generator yields ``--events`` server-sent events and lets other tasks run after each of them, so that every event is
sent by itself, as those of a model are. A Starlette app answers with it, called as a server calls it, and what it sends
is counted and dropped. ``ours`` is :func:`aibind.server.durable_response` of the generator, over a SQLite file;
``ours.memory`` over a store in memory; and ``ours.named`` is a stream of the same text as named events of ours
(:class:`~aibind.streams.StreamEvent`), over a SQLite file too, sent as aibind's server-sent events. The yardstick
``passthrough`` is Starlette's ``StreamingResponse`` of the generator: nothing is stored, and no reader can come back.

``cpu_us_per_event`` is the processor time of the process, with the threads of the database, divided by the events, and
``added_us_per_event`` how much of it is more than that of the pass-through right before. Both are medians of
``--rounds``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from .support.measure import median_figures
from .support.result import Benchmark, Figures, Result, Say

TEXT = '{"delta": "token"}'
OURS = ("ours", "memory", "named")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)


def run(options: argparse.Namespace, say: Say) -> Result:
    passed: list[Figures] = []
    found: dict[str, list[Figures]] = {name: [] for name in OURS}
    for number in range(options.rounds):
        for name, rounds in found.items():
            say(f"round {number + 1} of {options.rounds}: {name}")
            passed.append(_measure("passthrough", options.events))
            figures = _measure(name, options.events)
            added = figures["cpu_us_per_event"] - passed[-1]["cpu_us_per_event"]
            rounds.append({**figures, "added_us_per_event": round(added, 2)})
    ours, memory, named = (median_figures(found[name]) for name in OURS)
    yardsticks = {"passthrough": median_figures(passed)}
    names = {"events": options.events, "rounds": options.rounds}
    return Result("durable_response", names, {**ours, "memory": memory, "named": named}, yardsticks)


def _measure(name: str, events: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_run(name, events, Path(folder) / "streams.db"))


async def _run(name: str, events: int, path: Path) -> Figures:
    async with AsyncExitStack() as stack:
        app = _app(await _answer(name, events, path, stack))
        await _request(app)  # loads what is loaded on first use
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        sent = await _request(app)
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
    if sent < events:
        raise AssertionError(f"{name}: {sent} events of {events} were sent")
    return {
        "cpu_us_per_event": round(cpu * 1e6 / events, 2),
        "us_per_event": round(seconds * 1e6 / events, 2),
    }


async def _answer(name: str, events: int, path: Path, stack: AsyncExitStack) -> Callable[[], Awaitable[Any]]:
    """Return what makes the response to a request."""
    from starlette.responses import StreamingResponse

    from aibind.server import durable_response
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
    from aibind.streams import DurableStream, MemoryStreamStore, StreamEvent, StreamStore

    async def pieces() -> AsyncIterator[str]:
        for _ in range(events):
            yield f"data: {TEXT}\n\n"
            await asyncio.sleep(0)

    async def named() -> AsyncIterator[StreamEvent]:
        for _ in range(events):
            yield StreamEvent("delta", TEXT)
            await asyncio.sleep(0)

    if name == "passthrough":

        async def answer() -> Any:
            return StreamingResponse(pieces(), media_type="text/event-stream")

        return answer

    store: StreamStore = MemoryStreamStore()
    if name != "memory":
        client = await stack.enter_async_context(wrap_sqlite3(path))
        await migrate(client)
        store = SqliteStreamStore(client)

    async def respond() -> Any:
        if name != "named":
            return await durable_response(store, pieces())
        response = (await DurableStream.create(store, named())).response()
        return StreamingResponse(response.body, response.status, response.headers)

    return respond


def _app(answer: Callable[[], Awaitable[Any]]) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route

    async def route(_: Request) -> Any:
        return await answer()

    return Starlette(routes=[Route("/", route)])


async def _request(app: Any) -> int:
    """Send a request as a server does, and return the number of events that came."""
    count = 0
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal count
        count += message.get("body", b"").count(b"data: {")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
    }
    await app(scope, receive, send)
    return count


BENCHMARK = Benchmark(
    "durable_response",
    "what durable_response adds to each event of a route",
    add_options,
    run,
    quick=("--events", "50", "--rounds", "1"),
)
