"""The message store: byte for byte the chat that was saved, at a constant cost, and no turn lost between writers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from aibind.errors import CorruptConversationError, SqliteError, SqliteTransientError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from aibind.sqlite.client import SqliteClient, SqliteResult, Statement
from aibind.testing import Fault, Faults, FaultySqliteClient
from testbed.counting import CountingClient
from tests.support.harnesses import open_message_harness

FIXTURES = Path(__file__).parent.parent / "fixtures"


def ask(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("name", ["chat_history.json"])
async def test_saved_chats_of_javascript_are_kept(name: str, tmp_path: Path) -> None:
    cases = json.loads((FIXTURES / name).read_text(encoding="utf-8"))
    texts = [text for text in _strings(cases) if text.startswith('{"version":1,"nodes"')]
    assert len(texts) > 3
    async with open_message_harness("file", tmp_path) as harness:
        store = await harness.open(ttl_ms=None)
        for number, text in enumerate(texts):
            await store.save(str(number), ChatHistory.from_json(text))
            assert (await store.load(str(number))).to_json() == ChatHistory.from_json(text).to_json()


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings(item)]


async def test_siblings_and_members_of_an_odd_tree_keep_their_order(tmp_path: Path) -> None:
    def node(node_id: str, parent: str | None, children: list[str]) -> dict[str, object]:
        return {
            "id": node_id,
            "message": ask(node_id),
            "parentId": parent,
            "children": children,
            "metadata": {},
            "createdAt": "2026-01-01T00:00:00.000Z",
            "more": [1],
        }

    nodes = [node("a", None, ["c", "b"]), node("b", "a", []), node("c", "a", []), node("d", None, [])]
    tree = {
        "version": 1,
        "nodes": {entry["id"]: entry for entry in nodes},
        "rootIds": ["d", "a"],
        "activeLeafId": "c",
        "title": "kept",
    }
    text = json.dumps(tree, separators=(",", ":"))
    async with open_message_harness("file", tmp_path) as harness:
        store = await harness.open()
        await store.save("s", ChatHistory.from_json(text))
        assert (await store.load("s")).to_json() == text


@pytest.mark.parametrize("backend", ["file", "remote"])
async def test_turns_at_once_are_all_kept(backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        stores = [await harness.open() for _ in range(5)]
        await stores[0].save("s", ChatHistory())

        async def turn(number: int) -> None:
            store = stores[number % 5]
            chat = await store.load("s")
            chat.append(ask(f"question {number}"))
            await store.save("s", chat)
            await asyncio.sleep(0)
            chat.append({"role": "assistant", "content": f"answer {number}"})
            await store.save("s", chat)

        await asyncio.gather(*map(turn, range(50)))
        chat = await stores[1].load("s")
        assert chat.size == 100
        nodes = [chat.tree.get(node_id) for node_id in json.loads(chat.to_json())["nodes"]]
        questions = {node.id: node.message["content"] for node in nodes if node is not None}
        answers = [node for node in nodes if node is not None and node.message["role"] == "assistant"]
        assert sorted(questions[node.parent_id or ""] for node in answers) == sorted(
            f"question {number}" for number in range(50)
        )
        assert all(questions[node.parent_id or ""].split()[1] == node.message["content"].split()[1] for node in answers)


async def test_what_another_removed_comes_back_where_a_turn_went_on(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(4)]
        await store.save("s", chat)
        mine, theirs = await store.load("s"), await other.load("s")
        theirs.tree.remove(ids[1])
        await other.save("s", theirs)
        mine.append(ask("went on"))
        await store.save("s", mine)
        assert (await other.load("s")).to_json() == mine.to_json()


async def test_a_removal_keeps_what_another_went_on_from(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(4)]
        await store.save("s", chat)
        mine, theirs = await store.load("s"), await other.load("s")
        went_on = mine.tree.branch(ids[2], ask("went on"))
        await store.save("s", mine)
        theirs.tree.remove(ids[1])
        await other.save("s", theirs)
        found = await store.load("s")
        assert [found.tree.has(node_id) for node_id in [*ids, went_on]] == [True, True, True, False, True]
        assert found.node_ids == [ids[0]]


async def test_a_summary_keeps_the_rows_that_it_replaces(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(4)]
        await store.save("s", chat)
        summary = chat.compact(ask("all of it"))
        await store.save("s", chat)
        chat.append(ask("next"))
        await store.save("s", chat)
        assert (await store.load("s")).to_json() == chat.to_json()
        rows = (await client.execute("SELECT id, replaces FROM aibind_messages ORDER BY seq")).rows
        assert [row["id"] for row in rows[:5]] == [*ids, summary]
        assert rows[4]["replaces"] == ids[-1]


async def test_another_turn_goes_on_below_what_was_compacted(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(4)]
        await store.save("s", chat)
        mine, theirs = await store.load("s"), await other.load("s")
        mine.compact(ask("summary"))
        await store.save("s", mine)
        theirs.tree.branch(ids[2], ask("went on"))
        await other.save("s", theirs)
        found = await store.load("s")
        assert found.messages[-1] == ask("went on")
        assert [found.tree.has(node_id) for node_id in ids] == [True, True, True, False]
        assert any(node.message == ask("summary") for node in found.tree.get_leaves())


async def test_a_turn_costs_the_same_at_any_length(tmp_path: Path) -> None:
    costs = {}
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        for messages in (10, 1000):
            client = CountingClient(local)
            store = SqliteMessageStore(client)
            chat = ChatHistory()
            for number in range(messages):
                chat.append(ask(str(number)))
            await store.save(f"s{messages}", chat)
            before = client.statements, client.rows_written
            chat.append(ask("question"))
            await store.save(f"s{messages}", chat)
            chat.append(ask("answer"))
            await store.save(f"s{messages}", chat)
            costs[messages] = client.statements - before[0], client.rows_written - before[1]
    assert costs[10] == costs[1000] == (4, 4)


async def test_long_messages_and_conversations(tmp_path: Path) -> None:
    async with open_message_harness("remote", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        chat.append(ask('é"\\👋' * 1_000_000))
        for number in range(1200):
            chat.append(ask(f"{number} " + "word " * 2000))
        await store.save("s", chat)
        assert (await other.load("s")).to_json() == chat.to_json()


async def test_a_failed_save_leaves_the_state_before(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        for number in range(3):
            chat.append(ask(str(number)))
        await store.save("s", chat)
        before = (await store.load("s")).to_json()
        chat.append(ask("x" * 600_000))
        await client.execute(
            "CREATE TRIGGER fail BEFORE INSERT ON aibind_messages WHEN NEW.part = 2"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(SqliteError):
            await store.save("s", chat)
        assert (await store.load("s")).to_json() == before
        await client.execute("DROP TRIGGER fail")
        await store.save("s", chat)
        assert (await store.load("s")).to_json() == chat.to_json()


async def test_a_chat_copied_to_another_session_is_saved_whole(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store = await harness.open()
        chat = ChatHistory()
        for number in range(3):
            chat.append(ask(str(number)))
        await store.save("a", chat)
        await store.save("b", chat)
        await store.delete("a")
        await store.save("a", chat)
        assert (await store.load("b")).to_json() == chat.to_json()
        chat.append(ask("more"))
        await store.save("a", chat)
        assert (await store.load("a")).to_json() == chat.to_json()


async def test_rows_that_are_no_conversation_are_refused(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        chat.append(ask("one"))
        await store.save("s", chat)
        await client.execute("UPDATE aibind_messages SET data = 'not JSON'")
        with pytest.raises(CorruptConversationError, match="cannot be read"):
            await store.load("s")


async def test_cleanup_removes_what_has_expired(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        short, lasting = SqliteMessageStore(client, ttl_ms=1), SqliteMessageStore(client)
        chat = ChatHistory()
        chat.append(ask("one"))
        for number in range(120):
            await short.save(f"short {number}", ChatHistory.from_json(chat.to_json()))
        await lasting.save("lasting", chat)
        await asyncio.sleep(0.01)
        assert await lasting.cleanup() == 120
        assert await lasting.cleanup() == 0
        assert (await client.execute("SELECT count(*) AS n FROM aibind_messages")).rows == [{"n": 1}]
        assert (await lasting.load("lasting")).to_json() == chat.to_json()


@pytest.mark.parametrize("ttl_ms", [0, -1])
async def test_a_time_to_live_is_positive(ttl_ms: int) -> None:
    async with wrap_sqlite3(":memory:") as client:
        with pytest.raises(ValueError, match="ttl_ms"):
            SqliteMessageStore(client, ttl_ms=ttl_ms)


async def test_a_part_costs_the_same_at_any_length(tmp_path: Path) -> None:
    costs = []
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        for count in (30, 3000):
            client = CountingClient(local)
            store = SqliteMessageStore(client)
            chat = ChatHistory()
            for number in range(count):
                chat.append(ask(str(number)))
            await store.save(f"s{count}", chat)
            before = client.statements, client.rows_read
            await store.load(f"s{count}", limit=20)
            await store.read_page(f"s{count}", limit=20)
            costs.append((client.statements - before[0], client.rows_read - before[1]))
    assert costs[0] == costs[1]


async def test_what_has_expired_is_neither_listed_nor_renamed(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        short, lasting = await harness.open(ttl_ms=1), await harness.open()
        chat = ChatHistory()
        message_id = chat.append(ask("one"))
        await short.save("gone", chat)
        await asyncio.sleep(0.01)
        assert not await lasting.rename("gone", "x")
        assert await lasting.select("gone", message_id) is None
        assert await lasting.find_session("gone") is None
        assert await lasting.read_page("gone") is None
        assert await lasting.list_sessions() == []
        await lasting.save("gone", chat)
        assert [session.session_id for session in await lasting.list_sessions()] == ["gone"]


@pytest.mark.parametrize("statements", [0, 1, 2])
@pytest.mark.parametrize("kind", ["append", "remove", "compact", "long"])
async def test_a_fault_at_any_statement_leaves_the_state_before(statements: int, kind: str, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        faulty = FailingBatches(client)
        store = SqliteMessageStore(faulty)
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(3)]
        await store.save("s", chat)
        before, rows = (await store.load("s")).to_json(), await _rows(client)
        match kind:
            case "remove":
                chat.tree.remove(ids[1])
                chat.append(ask("went on"))
            case "compact":
                chat.compact(ask("summary"))
            case _:
                chat.append(ask("x" * (2_000_000 if kind == "long" else 1)))
        faulty.after = statements
        with pytest.raises(SqliteError):
            await store.save("s", chat)
        assert faulty.after is None
        assert await _rows(client) == rows
        assert (await SqliteMessageStore(client).load("s")).to_json() == before
        await store.save("s", chat)
        assert (await store.load("s")).to_json() == chat.to_json()


async def test_a_save_whose_answer_was_lost_can_be_repeated(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        store = SqliteMessageStore(FaultySqliteClient(client, Faults(script=["after", None] * 3)))
        chat = ChatHistory()
        for number in range(3):
            chat.append(ask(str(number)))
            with pytest.raises(SqliteError):
                await store.save("s", chat)
            assert (await store.load("s")).to_json() == chat.to_json()
            await store.save("s", chat)
        assert (await store.load("s")).to_json() == chat.to_json()


@pytest.mark.parametrize("fault", ["late", "duplicate"])
async def test_a_save_that_arrives_late_does_not_take_the_path_back(fault: Fault, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "aibind.db") as client:
        await migrate(client)
        faults = Faults(script=[None, fault], max_delay_s=0.3)
        store = SqliteMessageStore(FaultySqliteClient(client, faults))
        chat = ChatHistory()
        for number in range(4):
            chat.append(ask(str(number)))
            while True:
                try:
                    await store.save("s", chat)
                except SqliteTransientError:
                    continue
                break
            await asyncio.sleep(0.002)
        others = await SqliteMessageStore(client).load("s")
        others.edit(others.node_ids[1], ask("another path"))
        await SqliteMessageStore(client).save("s", others)
        await faults.wait_settled()
        stored = await SqliteMessageStore(client).load("s")
        assert [message["content"] for message in stored.messages] == ["0", "another path"]
        assert stored.size == 5


class FailingBatches(CountingClient):
    """Fails one batch: after so many of its statements."""

    after: int | None = None

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        if self.after is not None and len(statements) > 1:
            broken = [*statements[: self.after], Statement("SELECT * FROM no_such_table"), *statements[self.after :]]
            self.after = None
            return await super().batch(broken)
        return await super().batch(statements)


async def _rows(client: SqliteClient) -> list[object]:
    tables = ("aibind_sessions", "aibind_messages")
    return [row for table in tables for row in (await client.execute(f"SELECT * FROM {table}")).rows]
