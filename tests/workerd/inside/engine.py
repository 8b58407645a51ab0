"""A SqliteClient against the real engine: D1's, and that of a Durable Object."""

from __future__ import annotations

import asyncio
from typing import Any

from aibind.errors import (
    SqliteConstraintError,
    SqliteError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTooLargeError,
    SqliteTypeError,
)
from aibind.sqlite.client import SqliteClient, Statement
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_engine

check = checks_of_each_engine

TEXTS = (
    "",
    "a\0b",
    "\0",
    "\x00\x01\x1f\x7f\x80\x9f",
    "héllo 日本語 👋🏽 𝄞",
    "\u2028\u2029\ufeff\ufffd\uffff",
    "\"'`\\ \\u0000 \\n\r\n\t",
    "null",
    "1.0",
    "x" * 1_000_000,
    "👋" * 200_000,
)
INTEGERS = (0, 1, -1, 2**31, 2**32, -(2**40), 2**53 - 1, -(2**53) + 1)
FLOATS = (0.5, -0.1, 1e-300, 1.7976931348623157e308, 5e-324, 3.141592653589793, 0.1 + 0.2)
BLOBS = (b"", b"\0", bytes(range(256)), b"\xff\xfe" * 1000, b"text")


async def _make(bench: Bench, columns: str = "id INTEGER PRIMARY KEY, value") -> SqliteClient:
    client = bench.client()
    await client.execute(f"CREATE TABLE items ({columns})")
    return client


async def _round_trip(client: SqliteClient, value: Any) -> Any:
    """Pass a value as a parameter, through a row, and back."""
    written = await client.execute("INSERT INTO items (value) VALUES (?) RETURNING id, value", (value,))
    read = await client.execute("SELECT value FROM items WHERE id = ?", (written.rows[0]["id"],))
    assert written.rows[0]["value"] == read.rows[0]["value"]
    return read.rows[0]["value"]


# --- values ---


@check
async def text_comes_back_as_it_was(bench: Bench) -> None:
    client = await _make(bench)
    for text in TEXTS:
        back = await _round_trip(client, text)
        assert type(back) is str
        assert back == text, (ascii(back)[:80], ascii(text)[:80])


@check
async def integers_come_back_as_they_were(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value INTEGER")
    for number in INTEGERS:
        back = await _round_trip(client, number)
        assert type(back) is int
        assert back == number
    stored = await client.execute("SELECT DISTINCT typeof(value) AS type FROM items")
    assert stored.rows == [{"type": "integer"}]


@check
async def floats_come_back_as_they_were(bench: Bench) -> None:
    client = await _make(bench)
    for number in FLOATS:
        back = await _round_trip(client, number)
        assert back == number
        assert type(back) is float


@check
async def bytes_come_back_as_they_were(bench: Bench) -> None:
    client = await _make(bench)
    for blob in BLOBS:
        back = await _round_trip(client, blob)
        assert type(back) is bytes
        assert back == blob
    assert (await client.execute("SELECT DISTINCT typeof(value) AS type FROM items")).rows == [{"type": "blob"}]
    assert await _round_trip(client, bytearray(b"\1\2")) == b"\1\2"
    assert await _round_trip(client, memoryview(b"\3\4")) == b"\3\4"


@check
async def none_is_null(bench: Bench) -> None:
    client = await _make(bench)
    assert await _round_trip(client, None) is None
    assert (await client.execute("SELECT typeof(value) AS type FROM items")).rows == [{"type": "null"}]
    row = (await client.execute("SELECT ? IS NULL AS a, NULL AS b, ? AS c", (None, "c"))).rows[0]
    assert row == {"a": 1, "b": None, "c": "c"}
    assert row["b"] is None


@check
async def booleans_are_numbers(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value INTEGER")
    for value in (True, False):
        back = await _round_trip(client, value)
        assert back == int(value)
        assert type(back) is int


@check
async def kinds_of_values_mix(bench: Bench) -> None:
    client = bench.client()
    values = (None, "a\0b", 7, 1.5, b"\0\xff", True, "👋", None, b"")
    names = [f"c{number}" for number in range(len(values))]
    sql = "SELECT " + ", ".join(f"? AS {name}" for name in names)
    assert (await client.execute(sql, values)).rows == [dict(zip(names, (*values[:5], 1, *values[6:]), strict=True))]


@check
async def results_are_plain_python(bench: Bench) -> None:
    client = await _make(bench)
    await client.execute("INSERT INTO items (value) VALUES (?), (?)", ("a", None))
    result = await client.execute("SELECT * FROM items ORDER BY id")
    assert type(result.rows) is list
    assert [type(row) for row in result.rows] == [dict, dict]
    assert result.rows == [{"id": 1, "value": "a"}, {"id": 2, "value": None}]
    assert {type(value) for row in result.rows for value in row.values()} == {int, str, type(None)}
    assert (await client.execute("SELECT * FROM items WHERE id > 9")).rows == []
    assert (await client.execute("UPDATE items SET value = 'b'")).rows == []


@check
async def integers_beyond_53_bits_are_refused(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value INTEGER")
    for number in (2**53, -(2**53), 2**63 - 1, 2**64, 10**30):
        with raises(SqliteTypeError) as raised:
            await client.execute("INSERT INTO items (value) VALUES (?)", (number,))
        assert raised.error is not None
        assert str(number) in str(raised.error)
        assert isinstance(raised.error, TypeError)
        assert raised.error.sql == "INSERT INTO items (value) VALUES (?)"
    assert (await client.execute("SELECT * FROM items")).rows == []


@check
async def a_result_beyond_53_bits_is_no_integer(bench: Bench) -> None:
    row = (await bench.client().execute("SELECT 9007199254740993 AS a, CAST(9007199254740993 AS TEXT) AS b")).rows[0]
    assert type(row["a"]) is float
    assert row["b"] == "9007199254740993"


@check
async def what_cannot_be_stored_is_refused_before_anything_runs(bench: Bench) -> None:
    client = await _make(bench)
    for value in ("\ud800", "a\udfffb", float("nan"), float("inf"), float("-inf"), object(), [1], {"a": 1}, 1j, ...):
        with raises(SqliteTypeError):
            await client.execute("INSERT INTO items (value) VALUES (?)", (value,))  # type: ignore[arg-type]
        with raises(SqliteTypeError):
            await client.batch([Statement("INSERT INTO items (value) VALUES (1)"), Statement("SELECT ?", (value,))])  # type: ignore[arg-type]
    assert (await client.execute("SELECT * FROM items")).rows == []


# --- batches ---


@check
async def an_empty_batch_gives_an_empty_list(bench: Bench) -> None:
    assert await bench.client().batch([]) == []
    assert await bench.client().batch(()) == []


@check
async def a_batch_gives_a_result_each(bench: Bench) -> None:
    client = await _make(bench)
    results = await client.batch(
        [
            Statement("INSERT INTO items (value) VALUES (?)", (b"\0\1",)),
            Statement("SELECT count(*) AS n FROM items"),
            Statement("UPDATE items SET value = ? RETURNING value", (None,)),
            Statement("SELECT ? AS a, ? AS b", ("a\0", 2)),
        ]
    )
    assert [result.rows for result in results] == [[], [{"n": 1}], [{"value": None}], [{"a": "a\0", "b": 2}]]


@check
async def a_batch_is_all_or_nothing(bench: Bench) -> None:
    client = await _make(bench)
    insert = Statement("INSERT INTO items (id, value) VALUES (?, ?)", (1, "a"))
    for bad in (insert, Statement("INSERT INTO nowhere VALUES (1)"), Statement("SELEC"), Statement("SELECT ?")):
        with raises(SqliteError):
            await client.batch([insert, Statement("UPDATE items SET value = 'changed'"), bad])
        assert (await client.execute("SELECT * FROM items")).rows == []


@check
async def batches_do_not_mix(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value INTEGER")
    await client.execute("INSERT INTO items VALUES (1, 0)")
    add = Statement("UPDATE items SET value = value + 1 WHERE id = 1")
    read = Statement("SELECT value FROM items WHERE id = 1")
    results = await asyncio.gather(*(client.batch([add, read, add, read]) for _ in range(10)))
    seen = sorted((first[1].rows[0]["value"], first[3].rows[0]["value"]) for first in results)
    assert seen == [(2 * number + 1, 2 * number + 2) for number in range(10)]


@check
async def calls_happen_in_order(bench: Bench) -> None:
    client = await _make(bench)
    for number in range(20):
        await client.execute("INSERT INTO items (value) VALUES (?)", (str(number),))
        assert (await client.execute("SELECT count(*) AS n FROM items")).rows == [{"n": number + 1}]


# --- counts ---


@check
async def rows_read_and_written_are_the_engines_own_counts(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value INTEGER")
    written = await client.execute("INSERT INTO items (value) VALUES (1), (2), (3)")
    assert written.rows_written == 3
    assert (await client.execute("SELECT * FROM items")).rows_read == 3
    batch = await client.batch([Statement("DELETE FROM items WHERE id = 1"), Statement("SELECT * FROM items")])
    assert [result.rows_written for result in batch] == [1, 0]
    assert batch[1].rows_read == 2


# --- errors ---


@check
async def errors_say_what_was_wrong(bench: Bench) -> None:
    client = await _make(bench, "id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE CHECK (value <> 'no')")
    await client.execute("INSERT INTO items VALUES (1, 'a')")
    cases: tuple[tuple[type[SqliteError], str, tuple[Any, ...], str], ...] = (
        (SqliteConstraintError, "INSERT INTO items VALUES (1, 'b')", (), "items.id"),
        (SqliteConstraintError, "INSERT INTO items VALUES (2, 'a')", (), "items.value"),
        (SqliteConstraintError, "INSERT INTO items VALUES (2, ?)", (None,), "NOT NULL"),
        (SqliteConstraintError, "INSERT INTO items VALUES (2, 'no')", (), "CHECK"),
        (SqliteSchemaError, "SELECT * FROM nowhere", (), "nowhere"),
        (SqliteSchemaError, "SELECT missing FROM items", (), "missing"),
        (SqliteSchemaError, "INSERT INTO items (missing) VALUES (1)", (), "missing"),
        (SqliteSyntaxError, "SELEC 1", (), "SELEC"),
        (SqliteSyntaxError, 'SELEC "network connection lost"', (), "SELEC"),
        (SqliteSyntaxError, "", (), "SQL"),
        (SqliteSyntaxError, "SELECT ?, ?", (1,), "parameter"),
        (SqliteSyntaxError, "SELECT 1", (1, 2), "parameter"),
        (SqliteSyntaxError, "BEGIN", (), "batch()"),
        (SqliteSyntaxError, "ATTACH 'x' AS y", (), "not allow"),
        (SqliteTooLargeError, "SELECT " + ", ".join("?" * 101), tuple(range(101)), "100 parameters"),
        (SqliteTooLargeError, "SELECT '" + "x" * 110_000 + "'", (), "too long"),
        # Cloudflare's limit is 2 MB; the oldest workerd has it, and the newest one of some 16 MB.
        (SqliteTooLargeError, "SELECT length(hex(zeroblob(20000000)))", (), "too big"),
        (SqliteTypeError, "INSERT INTO items (id, value) VALUES ('one', 'z')", (), "mismatch"),
        (SqliteError, "SELECT json_extract('{', '$.a')", (), "malformed JSON"),
    )
    for kind, sql, args, words in cases:
        with raises(SqliteError) as raised:
            await client.execute(sql, args)
        error = raised.error
        assert error is not None
        assert type(error) is kind, (sql[:60], error)
        assert words in str(error), (words, error)
        assert not str(error).startswith("D1_ERROR")
        assert error.sql == sql
        assert type(error.__cause__).__name__ == "JsException"
    with raises(SqliteConstraintError) as in_batch:
        await client.batch(
            [Statement("INSERT INTO items VALUES (9, 'z')"), Statement("INSERT INTO items VALUES (1, 'b')")]
        )
    assert in_batch.error is not None
    assert type(in_batch.error.__cause__).__name__ == "JsException"
    assert (await client.execute("SELECT count(*) AS n FROM items")).rows == [{"n": 1}]
