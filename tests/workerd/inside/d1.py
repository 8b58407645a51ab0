"""wrap_d1 against workerd's own D1."""

from __future__ import annotations

import random
from typing import Any

from aibind.cloudflare import D1Client, wrap_d1
from aibind.errors import (
    SqliteError,
    SqliteOverloadedError,
    SqliteTooLargeError,
    SqliteTransientError,
    SqliteTypeError,
)
from aibind.sqlite import SqliteStreamStore, WatchableSqliteClient
from aibind.sqlite.client import Statement
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_kind
from .broken import FailingDatabase

check = checks_of_each_kind


async def _make(bench: Bench, columns: str = "id INTEGER PRIMARY KEY, value") -> D1Client:
    client = wrap_d1(bench.db)
    await client.execute(f"CREATE TABLE items ({columns})")
    return client


# --- costs, sessions ---


@check
async def an_append_is_billed_as_one_row(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    await client.execute("INSERT INTO aibind_stream_status (id, expires_at) VALUES ('s', 0)")
    insert = "INSERT INTO {} (id, seq, data) SELECT ?, ? + key, value FROM json_each(?)"
    ours = await client.execute(insert.format("aibind_stream_chunks"), ("s", 1, '["a"]'))
    theirs = await client.execute(insert.format("javascript_chunks"), ("s", 1, '["a"]'))
    assert (ours.rows_written, theirs.rows_written) == (1, 2)


@check
async def a_session_reads_its_own_writes(bench: Bench) -> None:
    client = await _make(bench)
    assert client.bookmark is None
    for session in (client.with_session(), wrap_d1(bench.db.withSession("first-primary"))):
        assert session.bookmark is None
        await session.execute("INSERT INTO items (value) VALUES ('a')")
        first = session.bookmark
        assert isinstance(first, str)
        assert first
        assert (await session.batch([Statement("SELECT count(*) > 0 AS any FROM items")]))[0].rows == [{"any": 1}]
        later = client.with_session(first)
        assert (await later.execute("SELECT count(*) > 0 AS any FROM items")).rows == [{"any": 1}]
        assert wrap_d1(bench.db.withSession(first)).bookmark is not None


# --- errors ---


@check
async def d1s_own_failures_are_told_apart(bench: Bench) -> None:
    """As Cloudflare documents them: workerd's local D1 never fails so."""
    cases: tuple[tuple[type[SqliteError], str], ...] = (
        (SqliteTransientError, "D1_ERROR: Network connection lost."),
        (SqliteTransientError, "D1_ERROR: D1 DB reset because its code was updated."),
        (SqliteTransientError, "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset."),
        (SqliteTransientError, "D1_ERROR: Internal error in D1 DB storage caused object to be reset."),
        (SqliteTransientError, "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node."),
        (SqliteTransientError, "D1_ERROR: Can't read from request stream because client disconnected."),
        (SqliteOverloadedError, "D1_ERROR: D1 DB is overloaded. Requests queued for too long."),
        (SqliteOverloadedError, "D1_ERROR: D1 DB is overloaded. Too many requests queued."),
        (SqliteOverloadedError, "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset."),
        (SqliteError, "D1_ERROR: D1 DB exceeded its CPU time limit and was reset."),
        (SqliteError, "D1_ERROR: Too many API requests by single Worker invocation."),
        (SqliteTooLargeError, "D1_ERROR: Exceeded maximum DB size."),
        (SqliteTypeError, "D1_TYPE_ERROR: Type 'undefined' not supported for value 'undefined'"),
        (SqliteError, "something new"),
    )
    for kind, message in cases:
        database = FailingDatabase([message] * 100, bench.raw.NATIVE_DB)
        with raises(SqliteError) as raised:
            await D1Client(database, 0.0).execute("SELECT 1")
        assert type(raised.error) is kind, (message, raised.error)
        assert message in str(raised.error.__cause__)


# --- trying again ---


@check
async def reads_are_tried_again(bench: Bench) -> None:
    lost = "D1_ERROR: Network connection lost."
    select = Statement(" select 1 AS one")
    for run in (lambda client: client.execute(select.sql), lambda client: client.batch([select, select])):
        database = FailingDatabase([lost, lost], bench.raw.NATIVE_DB)
        await run(D1Client(database, 5.0))
        assert database.calls == 3


@check
async def writes_are_not_tried_again(bench: Bench) -> None:
    client = await _make(bench)
    insert = Statement("INSERT INTO items (value) VALUES ('x') RETURNING id")
    for run in (
        lambda failing: failing.execute(insert.sql),
        lambda failing: failing.batch([insert]),
        lambda failing: failing.batch([Statement("SELECT 1"), insert]),
        lambda failing: failing.execute("WITH a AS (SELECT 1) DELETE FROM items"),
        lambda failing: failing.execute("PRAGMA optimize"),
    ):
        for message in ("Network connection lost.", "D1 DB storage operation exceeded timeout"):
            database = FailingDatabase([f"D1_ERROR: {message}"], bench.raw.NATIVE_DB)
            with raises(SqliteTransientError):
                await run(D1Client(database, 5.0))
            assert database.calls == 1
    assert (await client.execute("SELECT * FROM items")).rows == []


@check
async def writes_that_were_turned_away_are_tried_again(bench: Bench) -> None:
    client = await _make(bench)
    for message in (
        "D1 DB is overloaded. Requests queued for too long.",
        "Cannot resolve D1 DB due to transient issue",
    ):
        database = FailingDatabase([f"D1_ERROR: {message}"] * 2, bench.raw.NATIVE_DB)
        await D1Client(database, 5.0).execute("INSERT INTO items (value) VALUES ('x')")
        assert database.calls == 3
    assert len((await client.execute("SELECT * FROM items")).rows) == 2


@check
async def what_will_not_pass_is_not_tried_again(bench: Bench) -> None:
    for message in ('near "x": syntax error: SQLITE_ERROR', "no such table: x: SQLITE_ERROR", "something new"):
        database = FailingDatabase([f"D1_ERROR: {message}"], bench.raw.NATIVE_DB)
        with raises(SqliteError):
            await D1Client(database, 5.0).execute("SELECT 1")
        assert database.calls == 1


@check
async def trying_again_ends(bench: Bench) -> None:
    random.seed(1)
    database = FailingDatabase(["D1_ERROR: Network connection lost."] * 100, bench.raw.NATIVE_DB)
    with raises(SqliteTransientError):
        await D1Client(database, 0.3).execute("SELECT 1")
    assert database.calls <= 8


@check
async def errors_of_python_pass(_bench: Bench) -> None:
    class Faulty:
        def prepare(self, sql: str) -> Any:
            raise ZeroDivisionError(sql)

    with raises(ZeroDivisionError):
        await D1Client(Faulty(), 5.0).execute("SELECT 1")


# --- what it takes ---


@check
async def anything_else_is_refused(bench: Bench) -> None:
    for value in (None, "DB", object(), bench.kv, bench.raw, 7):
        with raises(TypeError) as raised:
            wrap_d1(value)
        assert "prepare()" in str(raised.error)
        assert "Wrangler" in str(raised.error)


@check
async def a_store_takes_it_for_remote(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    assert not isinstance(client, WatchableSqliteClient)
    store = SqliteStreamStore(client)
    assert (store.flush_pace.interval_ms, store.flush_pace.max_interval_ms) == (250, 2000)
    assert store.lease_ms == 30_000
