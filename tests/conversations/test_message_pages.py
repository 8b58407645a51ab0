"""Conversations read and continued in part: the end of a path, pages upwards, and the branch that is current."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from aibind.conversations import StoredMessage
from aibind.errors import ConversationConflictError, NodeNotFoundError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from testbed.counting import CountingClient
from tests.support.harnesses import MESSAGE_STORES, open_message_harness

backends = pytest.mark.parametrize("backend", list(MESSAGE_STORES))


def ask(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def without_times(text: str) -> str:
    return re.sub(r'"(createdAt|compactedAt)":"[^"]*"', "", text)


def talk(chat: ChatHistory, count: int) -> list[str]:
    return [chat.append(ask(str(number))) for number in range(count)]


@backends
@pytest.mark.parametrize("seed", range(8))
async def test_changes_of_a_part_are_those_of_the_whole(backend: str, seed: int, tmp_path: Path) -> None:
    """Clients that load the end of a path make of a conversation what ChatHistory makes of all of it."""
    source = random.Random(seed)
    ids = (f"id {number}" for number in range(1000))
    latest: list[str] = []

    def next_id() -> str:
        return latest[0]

    async with open_message_harness(backend, tmp_path) as harness:
        stores = [await harness.open(ttl_ms=None) for _ in range(3)]
        whole = ChatHistory(generate_id=next_id)
        for step in range(60):
            known = list(json.loads(whole.to_json())["nodes"])
            leaf_id = source.choice([None, source.choice(known)]) if known else None
            part = await source.choice(stores).load("s", limit=source.randrange(1, 6), leaf_id=leaf_id)
            loaded = [node_id for node_id in known if node_id in part.tree]
            path = whole.tree.get_path_to(leaf_id) if leaf_id else whole.tree.get_active_path()
            assert set(path.node_ids[-1:]) <= set(loaded)
            part.tree._generate_id = next_id
            for _ in range(source.randrange(1, 3)):
                latest[:] = [next(ids)]
                loaded = [node_id for node_id in known if node_id in part.tree]
                operation = source.choice(["append", "append", "edit", "child", "select", "compact"])
                text = ask(f"{operation} {step}")
                for chat in (part, whole):
                    choose = random.Random(step)
                    if operation == "append" or not loaded:
                        chat.append(text, {"step": step})
                    elif operation == "edit":
                        chat.edit(choose.choice(loaded), text)
                    elif operation == "child":
                        chat.tree.add_child(choose.choice(loaded), text)
                    elif operation == "select":
                        chat.tree.set_active_leaf(choose.choice(loaded))
                    elif step % 3 == 0:
                        chat.compact(text)
                known = list(json.loads(whole.to_json())["nodes"])
            await (stores[0] if not part.is_partial else _store_of(part, stores)).save("s", part)
            found = await source.choice(stores).load("s")
            assert without_times(found.to_json()) == without_times(whole.to_json())


def _store_of(chat: ChatHistory, stores: list[SqliteMessageStore]) -> SqliteMessageStore:
    origin = chat.tree._log._origin
    return next(store for store in stores if origin is not None and store._client is origin.client)  # type: ignore[attr-defined]


@backends
async def test_the_end_of_a_path_is_loaded(backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        store = await harness.open()
        chat = ChatHistory()
        ids = talk(chat, 10)
        edited = chat.edit(ids[5], ask("five"))
        await store.save("s", chat)
        assert (await store.load("s", limit=3)).node_ids == [*ids[3:5], edited]
        other = await store.load("s", limit=3, leaf_id=ids[7])
        assert list(other.tree.get_path_to(ids[7]).node_ids) == ids[5:8]
        below = other.tree.get(ids[7])
        assert below is not None
        assert below.children == (ids[8],)
        assert not (await store.load("s", limit=100)).has_more_above
        assert (await store.load("unknown", limit=3)).is_empty
        with pytest.raises(NodeNotFoundError):
            (await store.load("s", limit=3, leaf_id="unknown")).edit("unknown", ask("x"))
        with pytest.raises(ValueError, match="limit"):
            await store.load("s", limit=0)


async def test_a_long_path_is_loaded_by_pages(tmp_path: Path) -> None:
    async with open_message_harness("remote", tmp_path) as harness:
        store = await harness.open()
        chat = ChatHistory()
        ids = talk(chat, 1300)
        await store.save("s", chat)
        for limit in (500, 501, 1000, 1299, 1300, 5000):
            assert (await store.load("s", limit=limit)).node_ids == ids[-limit:]


async def test_a_part_costs_the_same_at_any_length(tmp_path: Path) -> None:
    costs = []
    async with wrap_sqlite3(tmp_path / "aibind.db") as local:
        await migrate(local)
        for count in (30, 3000):
            client = CountingClient(local)
            store = SqliteMessageStore(client)
            chat = ChatHistory()
            talk(chat, count)
            await store.save(f"s{count}", chat)
            before = client.statements, client.rows_read
            await store.load(f"s{count}", limit=20)
            await store.read_page(f"s{count}", limit=20)
            costs.append((client.statements - before[0], client.rows_read - before[1]))
    assert costs[0] == costs[1]


async def test_what_a_part_goes_on_from_was_removed(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        talk(chat, 5)
        await store.save("s", chat)
        part = await store.load("s", limit=2)
        await other.delete("s")
        part.append(ask("went on"))
        with pytest.raises(ConversationConflictError, match="removed by another"):
            await store.save("s", part)
        assert (await other.load("s")).is_empty


def all_pages(whole: ChatHistory, leaf_id: str) -> list[tuple[str, tuple[str, ...]]]:
    path = whole.tree.get_path_to(leaf_id).node_ids
    return [(node_id, whole.tree.get_sibling_ids(node_id)) for node_id in path]


@backends
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_go_up_to_the_beginning(backend: str, limit: int, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        store = await harness.open()
        assert await store.read_page("s") is None
        chat = ChatHistory()
        ids = talk(chat, 4)
        first = chat.edit(ids[0], ask("another beginning"), {"n": 1})
        talk(chat, 5)
        chat.edit(chat.node_ids[2], ask("another"))
        chat.append(ask("x" * 600_000))
        await store.save("s", chat, owner="ada")
        found: list[StoredMessage] = []
        before = None
        while True:
            page = await store.read_page("s", before=before, limit=limit)
            assert page is not None
            assert page.session.owner == "ada"
            assert page.session.active_leaf_id == chat.tree.active_leaf_id
            assert len(page.messages) <= limit
            found = [*page.messages, *found]
            before = page.before
            if before is None:
                break
            assert before == page.messages[0].id
        assert [(message.id, message.alternatives) for message in found] == all_pages(chat, chat.node_ids[-1])
        assert found[0].id == first
        for message in found:
            node = chat.tree.get(message.id)
            assert node is not None
            assert (message.message, message.metadata) == (node.message, node.metadata)
            assert (message.parent_id, message.created_at) == (node.parent_id, node.created_at)
            assert message.replaces is None
        unknown = await store.read_page("s", before="unknown")
        assert unknown is not None
        assert (unknown.messages, unknown.before) == ((), None)
        other = await store.read_page("s", before=ids[3])
        assert other is not None
        assert [message.id for message in other.messages] == ids[:3]
        with pytest.raises(ValueError, match="limit"):
            await store.read_page("s", limit=0)


@pytest.mark.parametrize("limit", [1, 2, 4, 50])
async def test_pages_go_on_above_summaries(limit: int, tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store = await harness.open()
        chat = ChatHistory()
        beginnings = talk(chat, 1)
        beginnings.append(chat.edit(beginnings[0], ask("another beginning")))
        path = [beginnings[1], *talk(chat, 2)]
        await store.save("s", chat)
        for _ in range(2):
            path.append(chat.compact(ask("summary")))
            await store.save("s", chat)
            path += talk(chat, 3)
            await store.save("s", chat)
        found: list[StoredMessage] = []
        before = None
        while True:
            page = await store.read_page("s", before=before, limit=limit)
            assert page is not None
            found = [*page.messages, *found]
            before = page.before
            if before is None:
                break
        assert [message.id for message in found] == path
        assert {message.id: message.replaces for message in found if message.replaces} == {
            path[3]: path[2],
            path[7]: path[6],
        }
        assert found[0].alternatives == tuple(beginnings)
        assert all(message.alternatives == (message.id,) for message in found[1:])
        assert (await store.load("s")).node_ids == path[-4:]
        assert (await store.load("s", limit=100)).node_ids == path[-4:]


async def test_a_summary_is_an_alternative_to_what_went_on_meanwhile(tmp_path: Path) -> None:
    async with open_message_harness("file", tmp_path) as harness:
        store, other = await harness.open(), await harness.open()
        chat = ChatHistory()
        ids = talk(chat, 3)
        await store.save("s", chat)
        theirs = await other.load("s", limit=2)
        summary = chat.compact(ask("summary"))
        await store.save("s", chat)
        went_on = theirs.append(ask("went on"))
        await other.save("s", theirs)
        page = await store.read_page("s")
        assert page is not None
        assert [message.id for message in page.messages] == [*ids, went_on]
        whole = await store.load("s")
        assert [(one.id, one.alternatives) for one in page.messages] == all_pages(whole, went_on)
        assert page.messages[0].alternatives == (ids[0], summary)


@backends
async def test_a_branch_is_selected_as_chat_history_does(backend: str, tmp_path: Path) -> None:
    async with open_message_harness(backend, tmp_path) as harness:
        store = await harness.open(ttl_ms=None)
        assert await store.select("s", "unknown") is None
        chat = ChatHistory()
        ids = talk(chat, 4)
        chat.edit(ids[1], ask("another"))
        talk(chat, 2)
        await store.save("s", chat)
        assert await store.select("s", "unknown") is None
        before = await store.find_session("s")
        assert await store.select("s", ids[1]) == ids[3] == chat.prev_alternative(chat.node_ids[1])
        assert (await store.load("s")).to_json() == chat.to_json()
        after = await store.find_session("s")
        assert before is not None
        assert after is not None
        assert after.active_leaf_id == ids[3]
        assert after.revision == before.revision + 1
        assert after.updated_at == before.updated_at
        assert await store.find_session("unknown") is None
        await store.delete("s")
        assert await store.select("s", ids[1]) is None
        assert await store.find_session("s") is None
