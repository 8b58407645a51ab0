"""Whose a stream is: what the stores of this package do beyond the contract, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from aibind.errors import SqliteSchemaError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.sqlite.stream_sql import StreamSql
from aibind.streams import DurableStream, MemoryStreamStore, StreamWriter
from aibind.testing.checks import wait_until_past
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL
from testbed.virtual_time import in_virtual_time
from tests.support.harnesses import STREAM_STORES, open_stream_harness

Listing = MemoryStreamStore | SqliteStreamStore


async def words() -> AsyncIterator[str]:
    yield "a word"


async def make_javascript_tables(client: CountingClient) -> None:
    for sql in JAVASCRIPT_SQL:
        await client.execute(sql)


# --- lists of streams ---


async def test_a_stream_is_later_than_those_of_its_session_whatever_the_clock_says(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        await store.create("z", session_id="c")
        ahead = "UPDATE aibind_stream_status SET created_at = created_at + 3600000"  # as another machine's clock may be
        await client.execute(ahead)
        for stream_id in ("y", "x"):
            await store.create(stream_id, session_id="c")
        await store.create("w", session_id="d")
        await store.create("v")
        assert list(await store.live_streams("c")) == ["z", "y", "x"]
        times = {info.stream_id: info.status.created_at or 0 for info in await store.list_streams()}
        assert times["z"] < times["y"] < times["x"]
        assert max(times["w"], times["v"]) < times["z"]


@pytest.mark.parametrize("backend", STREAM_STORES)
async def test_streams_are_listed_newest_first(backend: str, tmp_path: Path) -> None:
    async with open_stream_harness(backend, tmp_path) as harness:
        store, other = cast("Listing", await harness.open()), cast("Listing", await harness.open())
        assert await store.list_streams() == []
        times: list[int] = []
        for number, (session_id, owner) in enumerate((("c", "ada"), ("d", "bob"), ("c", None), (None, "ada"))):
            await store.create(f"{9 - number}", session_id=session_id, owner=owner)
            status = await store.get_status(f"{9 - number}")
            assert status is not None
            times.append(status.created_at or 0)
            await wait_until_past(times[-1])
        await store.append_many("9", ["x", "y"])
        await store.append_many("8", ["x"])
        await store.fail("8", "it broke")
        if not harness.records_sessions:
            assert await other.list_streams() == []
            return
        listed = await other.list_streams()
        assert [(info.stream_id, info.status.created_at) for info in listed] == list(
            zip("6789", reversed(times), strict=True)
        )
        for info in listed:
            assert info.status == await other.get_status(info.stream_id)
        broken, active = listed[2].status, listed[3].status
        assert (broken.state, broken.error, broken.total_chunks, broken.owner) == ("error", "it broke", 1, "bob")
        assert (active.state, active.total_chunks, active.session_id) == ("active", 2, "c")

        async def ids(**options: object) -> str:
            return "".join(info.stream_id for info in await other.list_streams(**options))  # type: ignore[arg-type]

        assert await ids(owner="ada") == "69"
        assert await ids(session_id="c") == "79"
        assert await ids(owner="ada", session_id="c") == "9"
        assert await ids(owner="ADA") == await ids(session_id="") == ""
        assert await ids(since_ms=times[2]) == "67"
        assert await ids(since_ms=times[3] + 1) == ""
        assert await ids(since_ms=times[1], owner="bob") == "8"
        assert await ids(limit=1) == "6"
        assert await ids(limit=3, owner="ada") == "69"
        with pytest.raises(ValueError, match="limit is 0: give 1 or more"):
            await other.list_streams(limit=0)


@pytest.mark.parametrize("backend", ["memory", "file"])
async def test_a_stream_that_has_expired_is_not_listed(backend: str, tmp_path: Path) -> None:
    async with open_stream_harness(backend, tmp_path) as harness:
        brief = cast("Listing", await harness.open(ttl_ms=1, lease_ms=1))
        for stream_id in ("ended", "lost"):
            await brief.create(stream_id)
        await brief.complete("ended")

        async def listed() -> list[str]:
            return [info.stream_id for info in await brief.list_streams()]

        async with asyncio.timeout(60):
            while await brief.get_status("ended") is not None:
                await asyncio.sleep(0.001)
        assert await listed() == ["lost"]  # still active, and not removed
        await brief.cleanup()
        assert await listed() == []


# --- what passes it on ---


async def test_a_durable_stream_and_a_writer_pass_it_on() -> None:
    store = MemoryStreamStore()
    stream = await DurableStream.create(store, words(), session_id="c", owner="ada")
    await stream.wait_closed()
    status = await store.get_status(stream.id)
    assert status is not None
    assert (status.state, status.session_id, status.owner) == ("done", "c", "ada")
    writer = StreamWriter(store, "w", session_id="d", owner="bob")
    await writer.open()
    assert await store.live_streams("d") == ["w"]
    writer.abandon()
    status = await store.get_status("w")
    assert status is not None
    assert status.owner == "bob"


@in_virtual_time
async def test_a_killed_reply_leaves_the_live_streams_with_its_lease(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await migrate(client)
        store = SqliteStreamStore(client, lease_ms=30_000)
        await store.create("lost", session_id="c")
        await asyncio.sleep(29)
        assert await store.live_streams("c") == ["lost"]
        await asyncio.sleep(2)
        assert await store.live_streams("c") == []


# --- what it costs ---


async def test_live_streams_and_lists_are_one_statement_each() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        counted = CountingClient(client)
        store = SqliteStreamStore(counted)
        await store.create("s", session_id="c", owner="o")
        assert counted.statements == 1
        assert await store.live_streams("c") == ["s"]
        assert counted.statements == 2
        await store.list_streams(session_id="c")
        assert counted.statements == 3


async def test_the_index_finds_a_session_and_is_left_alone_by_updates() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        sql = StreamSql("aibind_stream_chunks", "aibind_stream_status")
        index = "USING INDEX aibind_stream_status_by_session"
        by_session = sql.select_listed(0, owner=None, session_id="c", since_ms=None, limit=1)
        for statement in (sql.live("c", 0), by_session):
            plan = await client.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.args)
            assert any(index in str(row["detail"]) for row in plan.rows)
        # The opcodes that write a row: into an index, or into a table WITHOUT ROWID, which is one.
        for statement, writes in (
            (sql.create("s", 1, session_id="c"), 2),
            (sql.renew("s", 1), 1),
            (sql.finish("s", "done", None, 1), 1),
            (sql.keep("s", 1, 1), 1),
        ):
            program = await client.execute(f"EXPLAIN {statement.sql}", statement.args)
            assert sum(
                row["opcode"] == "IdxInsert" and row["p1"] in writable(program.rows) for row in program.rows
            ) == (writes), statement.sql


def writable(program: list[dict[str, str | int | float | bytes | None]]) -> set[object]:
    """Return the cursors of a program that write to the database."""
    return {row["p1"] for row in program if row["opcode"] == "OpenWrite"}


# --- tables of the JavaScript packages ---


async def test_missing_columns_are_noticed_once_for_a_store() -> None:
    async with wrap_sqlite3(":memory:") as client:
        counted = CountingClient(client)
        await make_javascript_tables(counted)
        for first in ("create", "read_page", "get_status", "live_streams", "list_streams"):
            await client.execute("DELETE FROM aibind_stream_status")
            await client.execute("INSERT INTO aibind_stream_status (id, expires_at) VALUES ('js', 9000000000000)")
            store = SqliteStreamStore(counted)
            before = counted.statements
            calls = {
                "create": lambda store=store: store.create("s", session_id="c", owner="o"),
                "read_page": lambda store=store: store.read_page("js"),
                "get_status": lambda store=store: store.get_status("js"),
                "live_streams": lambda store=store: store.live_streams("c"),
                "list_streams": lambda store=store: store.list_streams(),
            }
            await calls.pop(first)()
            assert counted.statements - before == (1 if first.endswith("streams") else 2), first
            before = counted.statements
            for call in calls.values():
                await call()
            assert counted.statements - before == len(calls) - len({"live_streams", "list_streams"} & set(calls)), first
            assert not await store.live_streams("c")
            assert await store.list_streams() == []


async def test_missing_columns_are_noticed_by_calls_at_once() -> None:
    async with wrap_sqlite3(":memory:") as client:
        counted = CountingClient(client)
        await make_javascript_tables(counted)
        store = SqliteStreamStore(counted)
        await asyncio.gather(
            *(store.create(f"{number}", session_id="c") for number in range(5)), store.live_streams("c")
        )
        assert len((await client.execute("SELECT id FROM aibind_stream_status")).rows) == 5


async def test_a_new_store_uses_the_columns_of_a_migration_made_meanwhile() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await make_javascript_tables(CountingClient(client))
        old = SqliteStreamStore(client)
        await old.create("before", session_id="c")
        await migrate(client)
        await old.create("by the old store", session_id="c")
        new = SqliteStreamStore(client)
        await new.create("by the new store", session_id="c", owner="o")
        assert await new.live_streams("c") == ["by the new store"]
        assert next(info.stream_id for info in await new.list_streams()) == "by the new store"
        assert len(await new.list_streams()) == 3
        status = await new.get_status("before")
        assert status is not None
        assert (status.session_id, status.owner, status.created_at) == (None, None, None)


async def test_other_missing_columns_and_tables_are_errors() -> None:
    async with wrap_sqlite3(":memory:") as client:
        store = SqliteStreamStore(client)
        for call in (store.create("s"), store.live_streams("c"), store.list_streams(), store.get_status("s")):
            with pytest.raises(SqliteSchemaError, match="no such table"):
                await call
        await migrate(client)
        assert await store.live_streams("c") == []
        await store.create("s", session_id="c")
        assert await store.live_streams("c") == ["s"]  # the errors before did not turn it off
        await client.execute("ALTER TABLE aibind_stream_status RENAME COLUMN expires_at TO owner_expires_at")
        with pytest.raises(SqliteSchemaError, match="expires_at"):
            await store.live_streams("c")
