"""The statements of pydantic-ai's conversation store against workerd's own D1; they need no pydantic-ai."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.integrations.pydantic_ai.conversation_sql import ENTRY_PREFIX, ConversationSql, RecordChange
from aibind.sqlite import SqliteClient, SqliteMessageStore, SqliteResult, TableNames, migrate
from aibind.sqlite.message_sql import MessageRow

from .bench import Bench, checks_once

check = checks_once

NOW = 1_700_000_000_000
SQL = ConversationSql(TableNames(), "aibind_pydantic_ai")
FIRST = RecordChange("pa", None, "r1", "ada", '{"n":1}', f"{ENTRY_PREFIX}3", None, None, NOW, NOW)


def _rows(*numbers: int, text: str = "x") -> list[MessageRow]:
    rows: list[MessageRow] = []
    for seq, number in enumerate(numbers):
        node_id, above = f"{ENTRY_PREFIX}{number}", f"{ENTRY_PREFIX}{number - 1}" if number > 1 else None
        parent = f'"{above}"' if above else "null"
        data = f'"{node_id}":{{"id":"{node_id}","message":{{"role":"user","content":"{text}"}},"parentId":{parent}'
        data += ',"children":[],"metadata":{},"createdAt":"2026-01-02T03:04:05.678Z"}'
        for part, start in enumerate(range(0, len(data), 250_000)):
            rows.append(MessageRow(node_id, part, seq, seq, above, None, data[start : start + 250_000]))
    return rows


async def _client(bench: Bench) -> SqliteClient:
    client = wrap_d1(bench.db)
    await migrate(client)
    await client.batch(SQL.create())
    await client.batch(SQL.create())
    for session in ("pa", "fork"):
        await SqliteMessageStore(client).delete(session)
    await client.execute("DELETE FROM aibind_pydantic_ai")
    return client


async def _write(client: SqliteClient, change: RecordChange, *numbers: int, **more: Any) -> list[SqliteResult]:
    rows = _rows(*numbers, **more)
    return await client.batch(SQL.write(change, rows, len(numbers)))


async def _path(client: SqliteClient, number: int, session: str | None = None, limit: int = 100) -> list[Any]:
    rows = (await client.batch([SQL.path(f"{ENTRY_PREFIX}{number}", session, limit)]))[0].rows
    return [(row["session_id"], row["id"], row["part"]) for row in rows]


@check
async def a_write_is_whole_and_once(bench: Bench) -> None:
    client = await _client(bench)
    assert (await _write(client, FIRST, 1, 2, 3, text="é" * 300_000))[-1].rows
    assert (await _write(client, FIRST, 1, 2, 3, text="é" * 300_000))[-1].rows  # a repeated write is answered the same
    row = (await client.batch([SQL.read("pa", NOW)]))[0].rows[0]
    assert (row["revision"], row["is_current"], row["owner"], row["data"]) == ("r1", 1, "ada", '{"n":1}')
    assert len(await _path(client, 3)) == 6
    assert len(await _path(client, 3, limit=1)) == 2
    chat = await SqliteMessageStore(client).load("pa")
    assert [len(message["content"]) for message in chat.messages] == [300_000] * 3
    assert (await SqliteMessageStore(client).find_session("pa")).revision == 1  # type: ignore[union-attr]


@check
async def only_the_expected_revision_is_replaced(bench: Bench) -> None:
    client = await _client(bench)
    await _write(client, FIRST, 1, 2, 3)
    later = replace(FIRST, revision="r2", base=f"{ENTRY_PREFIX}3", head=f"{ENTRY_PREFIX}4")
    assert not (await _write(client, later, 4))[-1].rows  # it is there
    assert not (await _write(client, replace(later, expected_revision="r0"), 4))[-1].rows
    assert not await _path(client, 4)
    assert (await _write(client, replace(later, expected_revision="r1"), 4))[-1].rows
    await SqliteMessageStore(client).rename("pa", "changed")
    last = replace(later, expected_revision="r2", revision="r3")
    assert not (await _write(client, last))[-1].rows
    row = (await client.batch([SQL.read("pa", NOW)]))[0].rows[0]
    assert row["is_current"] == 0
    assert (await _write(client, replace(last, expected_revision=str(row["revision"]))))[-1].rows


@check
async def a_fork_outlives_what_it_came_from(bench: Bench) -> None:
    client = await _client(bench)
    await _write(client, FIRST, 1, 2, 3)
    base = f"{ENTRY_PREFIX}2"
    fork = replace(FIRST, conversation_id="fork", revision="f1", base=base, head=base)
    assert (await _write(client, fork))[-1].rows
    assert not (await client.batch(SQL.delete("pa", "r0", NOW)))[0].rows
    assert (await client.batch(SQL.delete("pa", "r1", NOW)))[0].rows
    assert not (await client.batch([SQL.read("pa", NOW)]))[0].rows
    assert await _path(client, 2) == [("fork", base, 0), ("fork", f"{ENTRY_PREFIX}1", 0)]
    assert not (await _write(client, replace(fork, conversation_id="new", base=f"{ENTRY_PREFIX}3")))[-1].rows
    rows = (await client.batch([SQL.page(NOW, "ada", None, 10)]))[0].rows
    assert [row["session_id"] for row in rows] == ["fork"]


@check
async def a_turn_of_two_messages_is_few_rows(bench: Bench) -> None:
    """A row of a message is four: the row, its key and two entries of indexes."""
    client = await _client(bench)
    await _write(client, FIRST, 1, 2, 3)
    later = replace(
        FIRST,
        expected_revision="r1",
        revision="r2",
        base=f"{ENTRY_PREFIX}3",
        base_session="pa",
        head=f"{ENTRY_PREFIX}5",
    )
    results = await _write(client, later, 4, 5)
    assert results[-1].rows
    assert sum(result.rows_written for result in results) <= 14
