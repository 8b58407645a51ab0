"""What a reply costs a remote database must not grow: statements, round trips and rows, counted, not timed.

``counts.json`` holds what each case costs; one that costs more fails. When something costs less, keep what was won:
``python -m tests.benchmarks.test_counts`` writes the new counts down.

Time is virtual, so that ten minutes take a second and every count is exact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream
from benchmarks.support.reply import run_reply
from benchmarks.support.turn import store_conversation, store_turn
from testbed.counting import CountingClient
from testbed.javascript import JavaScriptStreamStore
from testbed.virtual_time import run_in_virtual_time

LIMITS = Path(__file__).with_name("counts.json")

Counts = dict[str, dict[str, int]]


@asynccontextmanager
async def clients() -> AsyncIterator[tuple[CountingClient, CountingClient]]:
    """Give the producer's client and the readers' client of one database."""
    async with wrap_sqlite3(":memory:", threads=False) as client:
        await migrate(client)
        await JavaScriptStreamStore(client).make_tables()
        yield CountingClient(client), CountingClient(client)


async def reply(kind: str = "ours", *, tokens: int, rate: float, followers: int, elsewhere: bool) -> Counts:
    async with clients() as (writer, reader):
        await run_reply(
            kind,
            writer,
            tokens=tokens,
            rate=rate,
            followers=followers,
            stream_id="s",
            reader_client=reader if elsewhere else None,
        )
        return {"writing": writer.figures, "reading": reader.figures}


async def resume(chunks: int) -> Counts:
    async with clients() as (writer, reader):
        store = SqliteStreamStore(writer)
        await store.create("s")
        await store.append_many("s", ["\x01token"] * chunks)
        await store.complete("s")
        async for _ in (await DurableStream.resume(SqliteStreamStore(reader), "s")).body:
            pass
        return {"writing": writer.figures, "reading": reader.figures}


async def turn(messages: int) -> Counts:
    async with clients() as (client, _):
        await store_conversation(client, "s", messages)
        counting = CountingClient(client)
        sent = await store_turn(counting, "s", messages, seen=10)
        return {"both": {**counting.figures, "bytes": sent}}


CASES: dict[str, Callable[[], Coroutine[Any, Any, Counts]]] = {
    "1,000 tokens in 10 s": lambda: reply(tokens=1000, rate=100, followers=1, elsewhere=False),
    "1,000 tokens in 10 s, three more followers in the process": lambda: reply(
        tokens=1000, rate=100, followers=4, elsewhere=False
    ),
    "1,000 tokens in 10 s, two followers elsewhere": lambda: reply(tokens=1000, rate=100, followers=3, elsewhere=True),
    "60,000 tokens in 10 minutes, a follower elsewhere": lambda: reply(
        tokens=60_000, rate=100, followers=2, elsewhere=True
    ),
    "10 tokens in 10 minutes, a follower elsewhere": lambda: reply(tokens=10, rate=1 / 60, followers=2, elsewhere=True),
    "resume of 1,200 chunks": lambda: resume(1200),
    "a turn after 10 messages": lambda: turn(10),
    "a turn after 10,000 messages": lambda: turn(10_000),
}


@pytest.mark.parametrize("name", CASES)
def test_counts_do_not_grow(name: str) -> None:
    limits = json.loads(LIMITS.read_text())[name]
    counts = run_in_virtual_time(CASES[name]())
    worse = [
        f"{side} {what}: {count}, not {limits[side][what]}"
        for side, found in counts.items()
        for what, count in found.items()
        if count > limits[side][what]
    ]
    assert not worse, f"{name} costs more than before"


def test_what_was_promised() -> None:
    limits = json.loads(LIMITS.read_text())
    assert limits.keys() == CASES.keys()
    ten_seconds = limits["1,000 tokens in 10 s"]["writing"]
    assert ten_seconds["statements"] <= 45
    assert ten_seconds["rows_written"] <= 50
    assert limits["60,000 tokens in 10 minutes, a follower elsewhere"]["writing"]["statements"] <= 450
    assert limits["a turn after 10 messages"] == limits["a turn after 10,000 messages"]


def test_sixty_times_fewer_than_the_javascript_stores() -> None:
    arguments: dict[str, Any] = {"tokens": 1000, "rate": 100, "followers": 1, "elsewhere": False}
    ours = run_in_virtual_time(reply("ours", **arguments))["writing"]
    theirs = run_in_virtual_time(reply("javascript", **arguments))["writing"]
    assert theirs["statements"] >= 60 * ours["statements"]
    # The index of their table is a row more a chunk on D1; a local database does not count it.
    assert theirs["rows_written"] + 1000 >= 60 * ours["rows_written"]


def test_virtual_time_waits_for_nobody() -> None:
    async def sleep() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        return asyncio.get_running_loop().time() - began

    assert run_in_virtual_time(sleep()) == pytest.approx(7200)


if __name__ == "__main__":
    found = {name: run_in_virtual_time(case()) for name, case in CASES.items()}
    LIMITS.write_text(json.dumps(found, indent=2) + "\n")
