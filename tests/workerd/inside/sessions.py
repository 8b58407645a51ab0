"""The columns of sessions on D1: how a migration adds them, and what they are billed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from aibind.cloudflare import wrap_d1
from aibind.errors import SqliteSchemaError, SqliteSyntaxError
from aibind.sqlite import SqliteStreamStore
from aibind.sqlite.client import SqliteClient, Statement
from aibind.sqlite.schema import TableNames, migrate, migrations
from aibind.sqlite.stream_sql import EXTRA_COLUMNS, StreamSql
from aibind.streams.store import StreamEnd
from aibind.testing.checks import raises
from testbed.counting import CountingClient
from testbed.javascript import javascript_sql

from .bench import Bench, checks_of_each_kind

check = checks_of_each_kind

NAMES = {"chunks_table": "late_chunks", "status_table": "late_status", "conversations_table": "late_conversations"}
STREAMS = {name: NAMES[name] for name in ("chunks_table", "status_table")}


async def _start_over(client: SqliteClient) -> None:
    """Forget what an earlier check did to the tables, which are removed between checks."""
    await migrate(client)
    await client.execute("DELETE FROM aibind_migrations WHERE tables LIKE '%late_%'")


async def _late(client: SqliteClient) -> list[str]:
    return await migrate(client, TableNames(**NAMES))


async def _columns(client: SqliteClient) -> list[Any]:
    found = await client.execute("PRAGMA table_info(late_status)")
    return [row["name"] for row in found.rows]


@check
async def tables_of_javascript_get_the_columns(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    await _start_over(client)
    await client.batch([Statement(sql) for sql in javascript_sql(*NAMES.values())])
    old = SqliteStreamStore(client, **STREAMS)  # type: ignore[arg-type]
    await old.create("before", session_id="c")
    assert await old.live_streams("c") == ()
    assert "0004_stream_sessions" in await _late(client)
    assert await _late(client) == []
    assert (await _columns(client))[5:] == list(EXTRA_COLUMNS)
    await client.execute("INSERT INTO late_status (id, state, total_chunks, expires_at) VALUES ('js', 'active', 0, 1)")
    store = SqliteStreamStore(client, **STREAMS)  # type: ignore[arg-type]
    await store.create("after", session_id="c", owner="o")
    assert await store.live_streams("c") == ["after"]
    listed = [info.stream_id for info in await store.list_streams()]
    assert (listed[0], sorted(listed[1:])) == ("after", ["before", "js"])


@check
async def columns_that_are_there_stay(bench: Bench) -> None:
    """As when wrangler has applied the files, wholly or in part."""
    client = wrap_d1(bench.db)
    steps = migrations(TableNames(**NAMES))
    statements = [Statement(sql) for step in steps for sql in step.statements]
    for applied in range(8):
        await _start_over(client)
        await client.batch([Statement(f'DROP TABLE IF EXISTS "{name}"') for name in STREAMS.values()])
        await client.batch(statements[: len(statements) - applied])
        assert "0004_stream_sessions" in await _late(client)
        assert await _late(client) == []
        assert (await _columns(client))[5:] == list(EXTRA_COLUMNS)
    with raises(SqliteSyntaxError) as raised:  # what the file says by itself
        await client.batch(statements)
    assert "duplicate column name: session_id" in str(raised.error)


@check
async def missing_columns_are_known_by_their_errors(bench: Bench) -> None:
    client = CountingClient(wrap_d1(bench.db))
    await _start_over(client)
    await client.batch([Statement(sql) for sql in javascript_sql(*NAMES.values())])
    sql = StreamSql("late_chunks", "late_status")
    for statement in (sql.create("s", 1), sql.read("s", 0), sql.status("s"), sql.live("c", 0), sql.keep("s", 1, 1)):
        with raises(SqliteSchemaError):
            await client.execute(statement.sql, statement.args)
    store = SqliteStreamStore(client, **STREAMS)  # type: ignore[arg-type]
    before = client.statements
    await store.create("s", session_id="c")
    assert client.statements == before + 2
    assert await store.append_many("s", ["x"], first_seq=1) == [1]
    assert (await store.read_page("s")).status.session_id is None
    assert await store.live_streams("c") == ()
    assert client.statements == before + 4


@check
async def only_creating_a_stream_with_a_session_costs_more(bench: Bench) -> None:
    costs: dict[str | None, list[int]] = {}
    for session_id in (None, "c"):
        costs[session_id] = await _written(wrap_d1(bench.metered), session_id)
    #                      create, append, renew, append and renew, finish, cleanup
    assert costs[None] == [1, 1, 1, 2, 2, 4]
    assert costs["c"] == [2, 1, 1, 2, 2, 4]


async def _written(client: SqliteClient, session_id: str | None) -> list[int]:
    """Return the rows that D1 bills for each step of a stream's life."""
    counted = CountingClient(client)
    store, brief = SqliteStreamStore(counted), SqliteStreamStore(counted, ttl_ms=1)
    written: list[int] = []

    async def note(call: Any) -> None:
        before = counted.rows_written
        await call
        written.append(counted.rows_written - before)

    await note(store.create("s", session_id=session_id))
    await note(store.append_many("s", ["x"], first_seq=1))
    await note(store.renew("s"))
    await note(store.append_many("s", ["y"], first_seq=2, renew=True))
    await note(brief.finish("s", StreamEnd("done"), chunks=["z"], first_seq=3))
    await asyncio.sleep(0.01)  # until it has expired
    await note(brief.cleanup())
    assert cast("Sequence[Any]", (await counted.execute("SELECT id FROM aibind_stream_status")).rows) == []
    return written
