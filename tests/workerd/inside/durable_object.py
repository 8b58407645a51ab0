"""wrap_durable_object inside an object of workerd's."""

from __future__ import annotations

import json

from aibind.cloudflare import DurableObjectClient, wrap_durable_object
from aibind.errors import SqliteConstraintError
from aibind.sqlite import SqliteStreamStore, WatchableSqliteClient
from aibind.sqlite.client import Statement
from aibind.testing.checks import raises

from .bench import Bench, checks_in_object, checks_of_each_kind

check = checks_in_object


@check
async def a_batch_that_fails_says_which_statement(bench: Bench) -> None:
    client = wrap_durable_object(bench.storage)
    await client.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
    insert = Statement("INSERT INTO items VALUES (?)", (1,))
    with raises(SqliteConstraintError) as raised:
        await client.batch([Statement("SELECT 1"), insert, insert, Statement("SELEC")])
    assert raised.error is not None
    assert raised.error.sql == insert.sql
    assert (await client.execute("SELECT * FROM items")).rows == []


@check
async def of_two_columns_with_one_name_the_last_counts(bench: Bench) -> None:
    assert (await bench.client().execute("SELECT 1 AS a, 2 AS a")).rows == [{"a": 2}]


@check
async def blobs_come_in_any_row_and_column(bench: Bench) -> None:
    rows = (await bench.client().execute("SELECT 1 AS n, x'00ff' AS b, '{}' AS t UNION ALL SELECT 2, NULL, x'' ")).rows
    assert rows == [{"n": 1, "b": b"\0\xff", "t": "{}"}, {"n": 2, "b": None, "t": b""}]


@check
async def a_statement_can_follow_any_read(bench: Bench) -> None:
    client = bench.client()
    await client.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
    await client.execute("INSERT INTO items SELECT value FROM json_each(?)", (json.dumps(list(range(500))),))
    assert len((await client.execute("SELECT * FROM items")).rows) == 500
    await client.execute("DROP TABLE items")  # refused while a cursor of it is open


@check
async def stores_of_an_object_share_wakeups_and_write_seldom(bench: Bench) -> None:
    client = bench.client()
    assert isinstance(client, DurableObjectClient)
    assert not isinstance(client, WatchableSqliteClient)
    store = SqliteStreamStore(client)
    assert store.shares_wakeups
    assert (store.flush_pace.interval_ms, store.flush_pace.max_interval_ms) == (250, 2000)


@checks_of_each_kind
async def only_storage_is_taken(bench: Bench) -> None:
    for value in (None, object(), bench.db, 7):
        with raises(TypeError) as raised:
            wrap_durable_object(value)
        assert "wrap_durable_object" in str(raised.error)
