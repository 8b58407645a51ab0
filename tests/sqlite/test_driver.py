"""What a client does for one caller."""

from __future__ import annotations

import asyncio
import enum
import math
import sqlite3
from pathlib import Path

import pytest

from aibind.errors import SqliteConstraintError, SqliteError, SqliteSyntaxError, SqliteTypeError
from aibind.sqlite.client import SqliteResult, Statement, WatchableSqliteClient
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 7


async def test_is_a_local_client(any_client: SqliteDatabase) -> None:
    assert isinstance(any_client, WatchableSqliteClient)
    assert ".db" in repr(any_client) or ":memory:" in repr(any_client)


async def test_rows_are_dicts_by_column_name(any_client: SqliteDatabase) -> None:
    result = await any_client.execute("SELECT 1 AS one, 'two' AS \"zwei drei\", NULL AS none")
    assert result == SqliteResult([{"one": 1, "zwei drei": "two", "none": None}], rows_read=1)
    assert type(result.rows[0]) is dict


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, 1),
        (False, 0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (1.5, 1.5),
        (math.inf, math.inf),
        ("", ""),
        ("naïve \u0000 NUL 👩‍👩‍👧 \r\n", "naïve \u0000 NUL 👩‍👩‍👧 \r\n"),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (Colour.RED, "red"),
        (Level.HIGH, 7),
    ],
)
async def test_values_come_back_as_they_went_in(client: SqliteDatabase, value: object, stored: object) -> None:
    await client.execute("CREATE TABLE t (v)")
    await client.execute("INSERT INTO t VALUES (?)", (value,))  # type: ignore[arg-type]
    found = (await client.execute("SELECT v, typeof(v) AS type FROM t WHERE v IS ?", [value])).rows[0]  # type: ignore[list-item]
    assert found["v"] == stored
    assert type(found["v"]) is type(stored)


async def test_arguments_may_change_after_the_call(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    await client.execute("CREATE TABLE t (v)")
    args = ["before"]
    outsider.execute("BEGIN IMMEDIATE")
    call = asyncio.create_task(client.execute("INSERT INTO t VALUES (?)", args))
    await asyncio.sleep(0)  # it is queued now
    args[0] = "after"
    outsider.execute("ROLLBACK")
    await call
    assert (await client.execute("SELECT v FROM t")).rows == [{"v": "before"}]


async def test_counts_rows(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (v)")
    written = await any_client.execute("INSERT INTO t VALUES (1), (2), (3) RETURNING v")
    assert (len(written.rows), written.rows_read, written.rows_written) == (3, 3, 3)
    updated = await any_client.execute("UPDATE t SET v = v + 1 WHERE v > 1")
    assert (updated.rows, updated.rows_read, updated.rows_written) == ([], 0, 2)
    assert (await any_client.execute("SELECT * FROM t")).rows_read == 3
    assert (await any_client.execute("DELETE FROM t")).rows_written == 3


async def test_batch_gives_a_result_each_in_order(any_client: SqliteDatabase) -> None:
    results = await any_client.batch(
        [
            Statement("CREATE TABLE t (v INTEGER PRIMARY KEY)"),
            Statement("INSERT INTO t VALUES (?), (?)", (1, 2)),
            Statement("SELECT changes() AS changed, last_insert_rowid() AS last"),
            Statement("SELECT v FROM t ORDER BY v DESC"),
        ]
    )
    assert [result.rows for result in results] == [[], [], [{"changed": 2, "last": 2}], [{"v": 2}, {"v": 1}]]
    assert [result.rows_written for result in results] == [0, 2, 0, 0]


async def test_batch_is_all_or_nothing(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (v INTEGER PRIMARY KEY)")
    with pytest.raises(SqliteConstraintError) as caught:
        await any_client.batch(
            [
                Statement("INSERT INTO t VALUES (1)"),
                Statement("DELETE FROM t WHERE v = 5"),
                Statement("INSERT INTO t VALUES (1)"),
            ]
        )
    assert caught.value.sql == "INSERT INTO t VALUES (1)"
    assert (await any_client.execute("SELECT * FROM t")).rows == []
    await any_client.execute("INSERT INTO t VALUES (1)")


async def test_batch_of_nothing(any_client: SqliteDatabase) -> None:
    assert await any_client.batch([]) == []


async def test_batch_of_reads_fails_as_one(any_client: SqliteDatabase) -> None:
    assert [r.rows for r in await any_client.batch([Statement("SELECT 1 AS a"), Statement("VALUES (?)", (2,))])] == [
        [{"a": 1}],
        [{"column1": 2}],
    ]
    with pytest.raises(SqliteSyntaxError) as caught:
        await any_client.batch([Statement("SELECT 1"), Statement("SELECT (")])
    assert caught.value.sql == "SELECT ("
    assert (await any_client.execute("SELECT 3 AS c")).rows == [{"c": 3}]  # the connection is fit for more


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "begin immediate",
        "  COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        ";BEGIN",
        ";; -- a comment\n /* another;\n */ Begin",
        "\ufeffBEGIN",
    ],
)
async def test_transactions_are_refused(any_client: SqliteDatabase, sql: str) -> None:
    with pytest.raises(SqliteSyntaxError, match=r"batch\(\)") as caught:
        await any_client.execute(sql)
    assert caught.value.sql == sql
    with pytest.raises(SqliteSyntaxError, match=r"batch\(\)"):
        await any_client.batch([Statement("SELECT 1"), Statement(sql)])
    await any_client.execute("CREATE TABLE t (v)")  # nothing was left open


@pytest.mark.parametrize("sql", ["", "  ;", "-- nothing\n", "/* open", "/* */ ;"])
async def test_empty_statements_are_refused(any_client: SqliteDatabase, sql: str) -> None:
    with pytest.raises(SqliteSyntaxError, match="empty"):
        await any_client.execute(sql)


async def test_two_statements_are_refused(any_client: SqliteDatabase) -> None:
    with pytest.raises(SqliteSyntaxError, match=r"batch\(\)"):
        await any_client.execute("CREATE TABLE a (v); CREATE TABLE b (v)")
    assert (await any_client.execute("SELECT * FROM sqlite_master")).rows == []


@pytest.mark.parametrize("args", ["text", b"bytes", {"a": 1}, {1}, iter([1]), None])
async def test_args_must_be_a_sequence(any_client: SqliteDatabase, args: object) -> None:
    with pytest.raises(SqliteTypeError, match="list or tuple"):
        await any_client.execute("SELECT ?", args)  # type: ignore[arg-type]


async def test_with_reads_and_writes(any_client: SqliteDatabase) -> None:
    await any_client.execute("CREATE TABLE t (v)")
    await any_client.execute(
        "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 5) INSERT INTO t SELECT v FROM n"
    )
    read = await any_client.execute('WITH "INSERT" AS (SELECT sum(v) AS s FROM t) /* ) */ SELECT s FROM "INSERT"')
    assert read.rows == [{"s": 15}]
    gone = await any_client.execute("WITH x AS (SELECT 2 AS v) DELETE FROM t WHERE v IN x RETURNING v")
    assert gone.rows == [{"v": 2}]


async def test_temporary_tables_are_seen_from_then_on(any_client: SqliteDatabase) -> None:
    await any_client.execute("SELECT 1")
    await any_client.execute("CREATE /* for now */ TEMP TABLE mine (v)")
    await any_client.execute("INSERT INTO mine VALUES (1)")
    assert (await any_client.execute("SELECT v FROM mine")).rows == [{"v": 1}]


async def test_attach_and_vacuum_run_outside_transactions(client: SqliteDatabase, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    await client.execute("ATTACH ? AS other", [str(other)])
    await client.execute("CREATE TABLE other.t (v)")
    assert (await client.execute("SELECT count(*) AS n FROM other.t")).rows == [{"n": 0}]
    await client.execute("DETACH other")
    await client.execute("VACUUM")
    assert (await client.execute("PRAGMA user_version")).rows == [{"user_version": 0}]
    await client.execute("PRAGMA user_version = 4")
    assert (await client.execute("PRAGMA user_version")).rows == [{"user_version": 4}]
    with pytest.raises(SqliteSyntaxError, match="VACUUM"):
        await client.batch([Statement("SELECT 1"), Statement("VACUUM")])


async def test_connections_are_set_up(path: Path) -> None:
    async with wrap_sqlite3(path, synchronous="FULL") as client:
        for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)):
            assert (await client.execute(f"PRAGMA {pragma}")).rows == [{pragma: value}]
        readers = await client.execute("SELECT * FROM pragma_query_only, pragma_foreign_keys")
        assert readers.rows == [{"query_only": 1, "foreign_keys": 1}]


async def test_a_read_sees_the_writes_before_it(client: SqliteDatabase) -> None:
    await client.execute("CREATE TABLE t (v)")
    for number in range(200):
        await client.execute("INSERT INTO t VALUES (?)", (number,))
        assert (await client.execute("SELECT max(v) AS v FROM t")).rows == [{"v": number}]


async def test_a_hundred_thousand_rows(any_client: SqliteDatabase) -> None:
    numbers = "WITH RECURSIVE n(v) AS (VALUES (1) UNION ALL SELECT v + 1 FROM n WHERE v < 100000)"
    rows = (await any_client.execute(f"{numbers} SELECT v, 'x' AS x FROM n")).rows
    assert len(rows) == 100_000
    assert rows[-1] == {"v": 100_000, "x": "x"}


async def test_the_file_is_the_one_meant_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with wrap_sqlite3("relative.db") as client:
        monkeypatch.chdir("/")
        await client.execute("CREATE TABLE t (v)")
    assert (tmp_path / "relative.db").exists()


async def test_close_folds_the_log_into_the_file(path: Path) -> None:
    client = wrap_sqlite3(path)
    await client.execute("CREATE TABLE t (v)")
    assert path.with_name("test.db-wal").exists()
    await client.aclose()
    await client.aclose()
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(SqliteError, match="closed") as caught:
        await client.execute("SELECT 1")
    assert caught.value.sql == "SELECT 1"
    for call in (client.batch([]), client.batch([Statement("SELECT 1")]), client.wait_for_change(0, 0)):
        with pytest.raises(SqliteError, match="closed"):
            await call
    assert "closed" in repr(client)


@pytest.mark.parametrize("threads", [True, False])
async def test_closing_an_unused_client_makes_no_file(path: Path, threads: bool) -> None:
    async with wrap_sqlite3(path, threads=threads):
        pass
    assert not path.exists()


async def test_memory_is_gone_after_close() -> None:
    client = wrap_sqlite3(":memory:")
    await client.execute("CREATE TABLE t (v)")
    assert (await client.execute("SELECT count(*) AS n FROM t")).rows == [{"n": 0}]
    await client.aclose()
    async with wrap_sqlite3(":memory:") as fresh:
        assert (await fresh.execute("SELECT * FROM sqlite_master")).rows == []


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("", {}, "path"),
        (b"bytes.db", {}, "path"),
        ("file:x.db?mode=ro", {}, "URI"),
        ("x.db", {"synchronous": "SOMETIMES"}, "synchronous"),
        ("x.db", {"readers": 0}, "readers"),
        ("x.db", {"readers": 65}, "readers"),
        ("x.db", {"busy_timeout_ms": -1}, "busy_timeout_ms"),
        ("x.db", {"busy_timeout_ms": math.nan}, "busy_timeout_ms"),
        ("x.db", {"watch_interval_ms": 0}, "watch_interval_ms"),
        ("x.db", {"wal_limit_bytes": -1}, "wal_limit_bytes"),
        ("x.db", {"cached_statements": -1}, "cached_statements"),
    ],
)
def test_options_are_checked(path: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wrap_sqlite3(path, **options)  # type: ignore[arg-type]


async def test_works_on_a_file_that_others_made(path: Path, outsider: sqlite3.Connection) -> None:
    outsider.execute("CREATE TABLE t (v)")
    outsider.execute("INSERT INTO t VALUES (1)")
    async with wrap_sqlite3(path) as client:
        assert (await client.execute("SELECT v FROM t")).rows == [{"v": 1}]
        await client.execute("UPDATE t SET v = 2")
    assert outsider.execute("SELECT v FROM t").fetchall() == [(2,)]
