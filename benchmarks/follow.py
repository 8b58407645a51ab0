"""How old a token is when a follower has parsed its server-sent event.

``--where process``: producer and followers share a process, and :class:`~aibind.streams.DurableStream` delivers tokens
as they come; the store is a SQLite file. ``--where file``: the followers are in another process and see the tokens
through that file. ``--where isolate``: producer and follower are in two isolates of workerd and see each other through
D1.

Each token is the time at which the model produced it, by the machine's monotonic clock, which processes share; the
delay ends when the follower's parser has returned the message with the token. (In isolates it is the time of day, and
the delay ends when the bytes arrive.) The yardstick ``javascript`` is the JavaScript stores' algorithm on the same
driver and database: its followers poll every 50 ms, and its producer stores each token before it takes the next. On D1
aibind stores a batch every 250 ms, so a follower in another isolate sees tokens later than the yardstick's.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from .support.child import Child, python
from .support.clocked import ClockedText, clocked_tokens, now_us
from .support.measure import delay_figures, median_figures
from .support.result import Benchmark, Figures, Result, Say

STREAM_ID = "benchmark"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--where", choices=("process", "file", "isolate"), default="process")
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second")
    parser.add_argument("--followers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace, say: Say) -> Result:
    if options.where == "isolate":
        from .support.isolates import follow_in_isolates

        return follow_in_isolates(options, say)
    found: dict[str, list[Figures]] = {"ours": [], "javascript": []}
    for number in range(options.rounds):
        for name, figures in found.items():
            say(f"round {number + 1} of {options.rounds}: {name}, {options.where}")
            figures.append(asyncio.run(_measure(name, options)))
    return Result(
        "follow",
        {name: getattr(options, name) for name in ("where", "tokens", "rate", "followers", "rounds")},
        median_figures(found["ours"]),
        {"javascript": median_figures(found["javascript"])},
    )


async def read_clocked(body: AsyncIterator[bytes]) -> list[float]:
    """Read a body to its end, parse it, and return each token's delay in milliseconds."""
    from aibind.streams import SseParser

    parser = SseParser()
    text = ClockedText()
    async for data in body:
        messages = parser.feed(data)
        arrived = now_us()
        for message in messages:
            text.take(message.data.encode(), arrived)
    return text.delays_ms


async def open_body(store_kind: str, client: object, stream_id: str) -> AsyncIterator[bytes]:
    """Follow a stream as a reader elsewhere does."""
    from aibind.sqlite import SqliteStreamStore
    from aibind.streams import DurableStream
    from testbed.javascript import JavaScriptStreamStore, javascript_follow

    if store_kind == "javascript":
        return javascript_follow(JavaScriptStreamStore(client), stream_id)  # type: ignore[arg-type]  # it is a SqliteClient
    return (await DurableStream.resume(SqliteStreamStore(client), stream_id)).body  # type: ignore[arg-type]


async def _measure(kind: str, options: argparse.Namespace) -> Figures:
    from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
    from aibind.streams import DurableStream
    from testbed.javascript import JavaScriptStreamStore, javascript_follow, javascript_pipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.db"
        async with wrap_sqlite3(path) as client:
            begun = asyncio.Event()

            async def source() -> AsyncIterator[str]:
                await begun.wait()
                async for token in clocked_tokens(options.tokens, options.rate):
                    yield token

            if kind == "javascript":
                theirs = JavaScriptStreamStore(client)
                await theirs.make_tables()
                pipe = javascript_pipe(theirs, STREAM_ID, source())
                await anext(pipe)
                producing = asyncio.ensure_future(_drain(pipe))
                bodies = [javascript_follow(theirs, STREAM_ID) for _ in range(options.followers)]
            else:
                await migrate(client)
                stream = await DurableStream.create(SqliteStreamStore(client), source(), stream_id=STREAM_ID)
                producing = asyncio.ensure_future(stream.wait_closed())
                bodies = [stream.response(after=0).body for _ in range(options.followers)]
            if options.where == "process":
                following = asyncio.gather(*map(read_clocked, bodies))
                await asyncio.sleep(0.1)
                begun.set()
                delays = [delay for one in await following for delay in one]
            else:
                command = python("support.follow_child", kind, path, STREAM_ID, options.followers)
                async with Child(command) as child:
                    await child.hear()
                    await asyncio.sleep(0.3)  # its followers are asleep by now, as before a first token
                    begun.set()
                    delays = await child.hear()
            await producing
    expected = options.tokens * options.followers
    if len(delays) != expected:
        raise AssertionError(f"{kind}: {len(delays)} tokens arrived, not {expected}")
    return delay_figures(delays)


async def _drain(body: AsyncIterator[bytes]) -> None:
    async for _ in body:
        pass


BENCHMARK = Benchmark(
    "follow",
    "how old a token is when a follower has it",
    add_options,
    run,
    sweep=(("--where", "process"), ("--where", "file"), ("--where", "isolate")),
    quick=("--tokens", "20", "--rate", "200", "--rounds", "1"),
)
