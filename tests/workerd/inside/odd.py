"""D1 and KV at their edges: large answers, answers of another shape, and failures that are no Error."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

from aibind.cloudflare import D1Client, KVConversationStore, wrap_d1
from aibind.errors import (
    ConversationError,
    SqliteConstraintError,
    SqliteError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTransientError,
    TransientError,
)
from aibind.sqlite.client import Statement
from aibind.testing.checks import raises

from .bench import Bench, checks_of_each_kind, checks_once
from .broken import FailingDatabase, javascript
from .kv import _chat, _failing


def _failing_with(bench: Bench, thrown: str, *, at_once: bool = False) -> D1Client:
    """Make a client whose database rejects, or throws at once, a value as JavaScript has it."""
    fail = f"() => {{ throw {thrown}; }}" if at_once else f"() => Promise.reject({thrown})"
    database = javascript(
        bench, f"{{prepare() {{ return {{bind() {{ return this; }}, all: {fail}}}; }}, batch: {fail}}}"
    )
    return wrap_d1(database, patience_s=0.0)


# --- failures ---


@checks_once
async def a_failure_that_is_no_error_is_told(bench: Bench) -> None:
    """Awaiting such a promise never ended."""
    cases: tuple[tuple[str, type[SqliteError], str], ...] = (
        ("'Network connection lost.'", SqliteTransientError, "Network connection lost."),
        ("{message: 'D1_ERROR: Network connection lost.'}", SqliteTransientError, "Network connection lost."),
        ("{message: 'D1_ERROR: no such table: t: SQLITE_ERROR'}", SqliteSchemaError, "no such table: t"),
        ("42", SqliteError, "42"),
        ("undefined", SqliteError, "undefined"),
        ("null", SqliteError, "undefined"),
        ("{code: 7}", SqliteError, "[object Object]"),
        ("Object.create(null)", SqliteError, ""),
        ("Symbol('s')", SqliteError, "Symbol(s)"),
        ("[1, 2]", SqliteError, "1,2"),
        ("10n", SqliteError, "10"),
    )
    for thrown, kind, told in cases:
        client = _failing_with(bench, thrown)
        for run in (client.execute("INSERT"), client.batch([Statement("INSERT")])):
            with raises(SqliteError) as raised:
                async with asyncio.timeout(10):
                    await run
            assert type(raised.error) is kind, (thrown, raised.error)
            assert told in str(raised.error)
            assert raised.error.__cause__ is not None
        with raises(SqliteError):
            await _failing_with(bench, thrown, at_once=True).execute("INSERT")


@checks_once
async def an_error_tells_what_it_can(bench: Bench) -> None:
    cases: tuple[tuple[str, type[SqliteError], str], ...] = (
        ("Object.assign(new Error('x'), {message: undefined})", SqliteError, "Error"),
        ("Object.assign(new Error('x'), {message: null})", SqliteError, "Error"),
        ("new Error('')", SqliteError, "Error"),
        ("new DOMException('gone', 'AbortError')", SqliteError, "gone"),
        ("new Error('D1_ERROR: ', {cause: new Error('SQLITE_CONSTRAINT: t.c')})", SqliteConstraintError, "t.c"),
        ("new Error('D1_ERROR', {cause: 'Network connection lost'})", SqliteTransientError, "lost"),
        ("new Error('a', {cause: new Error('b', {cause: new Error('no such table: c')})})", SqliteSchemaError, "a: b"),
        ("new Error('no such table: t', {cause: new Error('such table')})", SqliteSchemaError, "no such table: t ("),
        ("(() => { const e = new Error('round'); e.cause = e; return e; })()", SqliteError, "round"),
    )
    for thrown, kind, told in cases:
        for at_once in (False, True):
            with raises(SqliteError) as raised:
                await _failing_with(bench, thrown, at_once=at_once).execute("INSERT")
            assert type(raised.error) is kind, (thrown, raised.error)
            assert told in str(raised.error), (thrown, raised.error)
            assert type(raised.error.__cause__).__name__ == "JsException"


@checks_once
async def an_answer_of_another_shape_is_read_or_is_an_error(bench: Bench) -> None:
    def client(answer: str) -> D1Client:
        statement = f"{{bind() {{ return this; }}, all: async () => ({answer})}}"
        return wrap_d1(javascript(bench, f"{{prepare: () => ({statement}), batch: async () => [{answer}]}}"))

    select = Statement("SELECT 1")
    nothing = (
        "{}",
        "{results: undefined, meta: undefined}",
        "{results: null, meta: null}",
        "{meta: {rows_read: null}}",
    )
    for answer in nothing:
        for result in (await client(answer).execute(select.sql), *await client(answer).batch([select])):
            assert (result.rows, result.rows_read, result.rows_written) == ([], 0, 0)
    for answer in (
        "undefined",
        "null",
        "[]",
        "7",
        "{results: [{a: 1n}]}",
        "{success: false, error: 'no such table: t'}",
    ):
        for run in (client(answer).execute(select.sql), client(answer).batch([select])):
            with raises(SqliteError):
                await run
    with raises(SqliteError):
        await client("{}").batch([select, select])


@checks_once
async def what_follows_a_select_is_not_run_again(bench: Bench) -> None:
    """D1 runs both of two statements that come as one."""
    client = wrap_d1(bench.db)
    await client.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
    for sql, calls in (("SELECT 1; INSERT INTO items DEFAULT VALUES", 1), ("SELECT 1;", 2)):
        database = FailingDatabase(["D1_ERROR: Network connection lost."], bench.raw.NATIVE_DB)
        with suppress(SqliteTransientError):
            await D1Client(database, 5.0).execute(sql)
        assert database.calls == calls, sql


@checks_once
async def a_write_that_is_answered_with_a_failure_is_not_run_again(bench: Bench) -> None:
    """D1 may report a failure in its answer as well as by an error."""
    for sql, repeated in (("INSERT", False), ("SELECT 1", True)):
        database = javascript(
            bench,
            """{calls: 0, prepare() {
                return {all: async () => {
                    this.calls += 1;
                    return {success: false, error: 'D1_ERROR: Network connection lost.'};
                }};
            }, batch() {}}""",
        )
        with raises(SqliteTransientError):
            await wrap_d1(database, patience_s=0.3).execute(sql)
        assert (database.calls > 1) is repeated, (sql, database.calls)


@checks_of_each_kind
async def a_statement_with_half_a_character_is_refused(bench: Bench) -> None:
    for run in (wrap_d1(bench.db).execute("SELECT '\ud800'"), wrap_d1(bench.db).batch([Statement("SELECT '\udfff'")])):
        with raises(SqliteSyntaxError) as raised:
            await run
        assert "surrogate" in str(raised.error)


@checks_of_each_kind
async def a_session_begins_no_session(bench: Bench) -> None:
    with raises(TypeError) as raised:
        wrap_d1(bench.db).with_session().with_session()
    assert "session already" in str(raised.error)


# --- large and strange results ---


@checks_of_each_kind
async def ten_thousand_rows_come_back(bench: Bench) -> None:
    sql = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
        " SELECT i, 'row ' || i AS text, i + 0.5 AS half, nullif(i % 2, 0) AS odd FROM n"
    )
    rows = (await wrap_d1(bench.db).execute(sql)).rows
    assert len(rows) == 10_000
    assert rows[-1] == {"i": 10_000, "text": "row 10000", "half": 10_000.5, "odd": None}


@checks_of_each_kind
async def a_megabyte_of_bytes_comes_back(bench: Bench) -> None:
    blob = bytes(range(256)) * 4000
    client = wrap_d1(bench.db)
    assert (await client.execute("SELECT ? AS blob, zeroblob(3) AS zeros", (blob,))).rows == [
        {"blob": blob, "zeros": b"\0\0\0"}
    ]


@checks_of_each_kind
async def a_batch_of_a_thousand_is_one_transaction(bench: Bench) -> None:
    client = wrap_d1(bench.db)
    await client.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
    insert = [Statement("INSERT INTO items VALUES (?) RETURNING id", (number,)) for number in range(1000)]
    with raises(SqliteConstraintError):
        await client.batch([*insert, insert[0]])
    assert (await client.execute("SELECT count(*) AS n FROM items")).rows == [{"n": 0}]
    assert [result.rows[0]["id"] for result in await client.batch(insert)] == list(range(1000))


@checks_of_each_kind
async def results_are_what_javascript_can_hold(bench: Bench) -> None:
    sql = 'SELECT 9e999 AS infinite, 1.0 AS whole, 1e20 AS large, 1 AS same, 2 AS same, 3 AS "__proto__", 4 AS ""'
    row = (await wrap_d1(bench.db).execute(sql, [])).rows[0]
    assert row == {"infinite": None, "whole": 1, "large": 1e20, "same": 2, "__proto__": 3, "": 4}
    assert type(row["large"]) is float


@checks_of_each_kind
async def nothing_is_left_behind(bench: Bench) -> None:
    client, store = wrap_d1(bench.db), KVConversationStore(bench.kv)

    async def use(times: int) -> int:
        for _ in range(times):
            await client.execute("SELECT ? AS a, ? AS b", (b"bytes", "text"))
            await client.batch([Statement("SELECT 1"), Statement("SELECT ?", (None,))])
            with raises(SqliteSyntaxError):
                await client.execute("SELEC")
            await store.load("nobody")
        gc.collect()
        return len(gc.get_objects())

    await use(5)
    before = await use(5)
    assert await use(100) - before < 100


# --- KV ---


@checks_once
async def kv_may_fail_with_what_is_no_error(bench: Bench) -> None:
    for thrown, kind in (("'KV GET failed: 503'", TransientError), ("undefined", ConversationError)):
        fail = f"() => Promise.reject({thrown})"
        namespace = javascript(bench, f"{{get: {fail}, put: {fail}, delete: {fail}, getWithMetadata: {fail}}}")
        store = KVConversationStore(namespace, patience_s=0.0)
        for run in (store.load("s"), store.save("s", _chat("a")), store.delete("s")):
            with raises(Exception) as raised:
                async with asyncio.timeout(10):
                    await run
            assert type(raised.error) is kind, raised.error


@checks_once
async def what_kv_would_refuse_never_reaches_it(bench: Bench) -> None:
    store, namespace = _failing(bench, [])
    large = _chat("x" * (26 * 1024 * 1024))
    for run in (
        store.load("x" * 513),
        store.save("x" * 513, _chat("a")),
        store.delete("\ud800"),
        store.save("s", large),
    ):
        with raises(ConversationError):
            await run
    assert namespace.calls == 0


@checks_once
async def other_bindings_are_no_namespace(bench: Bench) -> None:
    for bucket in ("{get() {}, put() {}, delete() {}, head() {}}", "{put() {}, match() {}}"):
        with raises(TypeError):
            KVConversationStore(javascript(bench, bucket))
    for ttl_sec in (2**31, 10**12, float("inf"), float("nan")):
        with raises(ValueError):
            KVConversationStore(bench.kv, ttl_sec=ttl_sec)  # type: ignore[arg-type]


@checks_of_each_kind
async def any_session_id_has_its_own_value(bench: Bench) -> None:
    store = KVConversationStore(bench.kv, verify_s=None)
    ids = ("", ".", "..", "a\0b", "a\nb", "é日本👋", "a/b?c#d%20", "   ", "a:b", "conv")
    for session_id in ids:
        await store.save(session_id, _chat(f"for {session_id}"))
    for session_id in ids:
        assert [message["content"] for message in (await store.load(session_id)).messages] == [f"for {session_id}"]
        await store.delete(session_id)
        assert (await store.load(session_id)).is_empty


@checks_of_each_kind
async def half_a_character_in_a_conversation_is_kept(bench: Bench) -> None:
    store = KVConversationStore(bench.kv)
    chat = _chat("a\ud800b\0\u2028")
    await store.save("half", chat)
    assert (await store.load("half")).messages == chat.messages
