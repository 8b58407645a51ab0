"""The contract of session stores, as checks: sessions that are listed, and conversations read and saved in part."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..conversations.sessions import SessionStore, StoredMessage
from ..errors import ConversationConflictError, NodeNotFoundError
from ..history import ChatHistory
from .checks import Check, CheckList, raises
from .random_changes import change, change_part, ids_of, odd_ids, say, shape_of

__all__ = ["SessionStoreHarness", "session_store_checks"]


class SessionStoreHarness(Protocol):
    """A source of session stores over one set of data, which is empty at first."""

    async def open(self, *, ttl_ms: int | None = None) -> SessionStore:
        """Return a new store object over the same data, as another process would have. A check opens several."""
        ...


def session_store_checks() -> tuple[Check[SessionStoreHarness], ...]:
    """Return the checks that every session store must pass, beside those of conversation stores."""
    return check.checks()


check: CheckList[SessionStoreHarness] = CheckList()


def _talk(chat: ChatHistory, count: int) -> list[str]:
    return [chat.append(say(str(number))) for number in range(count)]


async def _page(store: SessionStore, before: str | None, limit: int) -> tuple[list[StoredMessage], str | None]:
    page = await store.read_page("s", before=before, limit=limit)
    assert page is not None
    assert len(page.messages) <= limit
    assert page.before is None or page.before == page.messages[0].id
    return list(page.messages), page.before


async def _all_pages(store: SessionStore, limit: int) -> list[StoredMessage]:
    found, before = await _page(store, None, limit)
    while before is not None:
        above, before = await _page(store, before, limit)
        found = above + found
    return found


def _in_memory(chat: ChatHistory) -> list[tuple[str, tuple[str, ...]]]:
    return [(node_id, chat.tree.get_sibling_ids(node_id)) for node_id in chat.node_ids]


# --- changes ---


async def _change_at_random(harness: SessionStoreHarness, seed: int) -> None:
    from random import Random  # Workers refuse random numbers while modules are loaded

    random = Random(seed)
    stores = [await harness.open() for _ in range(2)]
    store, chat = stores[0], ChatHistory(generate_id=odd_ids(random))
    for _ in range(20):
        for _ in range(random.randrange(4)):
            change(chat, random)
        await store.save("s", chat)
        text = chat.to_json()
        store = random.choice(stores)
        chat = await store.load("s")
        assert chat.to_json() == text


@check
async def random_changes_are_those_of_a_chat_in_memory(harness: SessionStoreHarness) -> None:
    await _change_at_random(harness, 1)


@check
async def other_random_changes_are_those_of_a_chat_in_memory(harness: SessionStoreHarness) -> None:
    await _change_at_random(harness, 2)


@check
async def random_changes_of_a_part_are_those_of_the_whole(harness: SessionStoreHarness) -> None:
    from random import Random  # Workers refuse random numbers while modules are loaded

    random = Random(3)
    stores = [await harness.open() for _ in range(3)]
    whole, found = ChatHistory(), ChatHistory()
    for step in range(40):
        in_memory, stored = ids_of(whole), ids_of(found)
        leaf_id = random.choice([None, random.choice(stored)]) if stored else None
        store = random.choice(stores)
        part = await store.load("s", limit=random.randrange(1, 6), leaf_id=leaf_id)
        loaded = [number for number, node_id in enumerate(stored) if node_id in part.tree]
        if stored:
            assert (leaf_id or found.tree.active_leaf_id) in part.tree
        change_part(part, [stored[number] for number in loaded], step)
        change_part(whole, [in_memory[number] for number in loaded], step)
        await store.save("s", part)
        found = await random.choice(stores).load("s")
        assert shape_of(found) == shape_of(whole)


@check
async def turns_at_once_are_all_kept(harness: SessionStoreHarness) -> None:
    stores = [await harness.open() for _ in range(4)]
    await stores[0].save("s", ChatHistory())

    async def turn(number: int) -> None:
        store = stores[number % len(stores)]
        chat = await store.load("s", limit=5)
        question = chat.append(say(f"question {number}"))
        await store.save("s", chat)
        fresh = await store.load("s", limit=1, leaf_id=question)
        fresh.tree.branch(question, {"role": "assistant", "content": f"answer {number}"})
        await store.save("s", fresh)

    await asyncio.gather(*map(turn, range(20)))
    chat = await stores[0].load("s")
    assert chat.size == 40
    for node_id in ids_of(chat):
        node = chat.tree.get(node_id)
        assert node is not None
        if node.message["role"] == "assistant":
            assert node.parent_id is not None
            question = chat.tree.get(node.parent_id)
            assert question is not None
            assert question.message["content"].split()[1] == node.message["content"].split()[1]


@check
async def a_message_of_5_mb_is_kept(harness: SessionStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    chat = ChatHistory()
    chat.append(say("before"))
    chat.append(say('é"\\👋' * 1_000_000))
    chat.append(say("after"))
    await store.save("s", chat)
    assert (await other.load("s")).to_json() == chat.to_json()
    assert (await other.load("s", limit=2)).messages == chat.messages[1:]


# --- parts ---


@check
async def the_end_of_a_path_is_loaded(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    chat = ChatHistory()
    ids = _talk(chat, 10)
    edited = chat.edit(ids[5], say("five"))
    await store.save("s", chat)
    end = await store.load("s", limit=3)
    assert end.node_ids == [*ids[3:5], edited]
    assert end.has_more_above
    other = await store.load("s", limit=3, leaf_id=ids[7])
    assert list(other.tree.get_path_to(ids[7]).node_ids) == ids[5:8]
    last = other.tree.get(ids[7])
    assert last is not None
    assert last.children == (ids[8],)
    assert not (await store.load("s", limit=100)).has_more_above
    assert (await store.load("unknown", limit=3)).is_empty
    with raises(NodeNotFoundError):
        (await store.load("s", limit=3, leaf_id="unknown")).edit("unknown", say("x"))
    with raises(ValueError):
        await store.load("s", limit=0)


@check
async def a_long_path_is_loaded(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    chat = ChatHistory()
    ids = _talk(chat, 1300)
    await store.save("s", chat)
    for limit in (500, 501, 1000, 1299, 1300, 5000):
        assert (await store.load("s", limit=limit)).node_ids == ids[-limit:]


@check
async def a_part_whose_conversation_was_deleted_is_not_saved(harness: SessionStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    chat = ChatHistory()
    _talk(chat, 5)
    await store.save("s", chat)
    part = await store.load("s", limit=2)
    await other.delete("s")
    part.append(say("went on"))
    with raises(ConversationConflictError):
        await store.save("s", part)
    assert (await other.load("s")).is_empty


# --- pages ---


@check
async def pages_go_up_to_the_beginning(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    assert await store.read_page("s") is None
    chat = ChatHistory()
    ids = _talk(chat, 4)
    chat.edit(ids[0], say("another beginning"), {"n": 1})
    _talk(chat, 5)
    chat.edit(chat.node_ids[2], say("another"))
    chat.append(say("x" * 600_000))
    await store.save("s", chat, owner="ada")
    for limit in (1, 3, 100):
        found = await _all_pages(store, limit)
        assert [(message.id, message.alternatives) for message in found] == _in_memory(chat)
        for message in found:
            node = chat.tree.get(message.id)
            assert node is not None
            assert (message.message, message.metadata) == (node.message, node.metadata)
            assert (message.parent_id, message.created_at) == (node.parent_id, node.created_at)
            assert message.replaces is None
    assert await _page(store, "unknown", 10) == ([], None)
    assert [message.id for message in (await _page(store, ids[3], 10))[0]] == ids[:3]
    with raises(ValueError):
        await store.read_page("s", limit=0)


@check
async def pages_go_on_above_summaries(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    chat = ChatHistory()
    beginnings = _talk(chat, 1)
    beginnings.append(chat.edit(beginnings[0], say("another beginning")))
    path = [beginnings[1], *_talk(chat, 2)]
    await store.save("s", chat)
    for _ in range(2):
        path.append(chat.compact(say("summary")))
        await store.save("s", chat)
        path += _talk(chat, 3)
        await store.save("s", chat)
    for limit in (1, 2, 4, 50):
        found = await _all_pages(store, limit)
        assert [message.id for message in found] == path
        replaces = {message.id: message.replaces for message in found if message.replaces}
        assert replaces == {path[3]: path[2], path[7]: path[6]}
        assert found[0].alternatives == tuple(beginnings)
        assert all(message.alternatives == (message.id,) for message in found[1:])
    assert (await store.load("s")).node_ids == path[-4:]
    assert (await store.load("s", limit=100)).node_ids == path[-4:]


@check
async def a_summary_is_an_alternative_to_what_went_on_meanwhile(harness: SessionStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    chat = ChatHistory()
    ids = _talk(chat, 3)
    await store.save("s", chat)
    theirs = await other.load("s", limit=2)
    summary = chat.compact(say("summary"))
    await store.save("s", chat)
    went_on = theirs.append(say("went on"))
    await other.save("s", theirs)
    for limit in (1, 2, 50):
        found = await _all_pages(store, limit)
        assert [message.id for message in found] == [*ids, went_on]
        assert [(message.id, message.alternatives) for message in found] == _in_memory(await store.load("s"))
        assert found[0].alternatives == (ids[0], summary)


# --- sessions ---


@check
async def a_branch_is_selected_as_a_chat_does(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    assert await store.select("s", "unknown") is None
    chat = ChatHistory()
    ids = _talk(chat, 4)
    chat.edit(ids[1], say("another"))
    _talk(chat, 2)
    await store.save("s", chat)
    assert await store.select("s", "unknown") is None
    before = await store.find_session("s")
    assert await store.select("s", ids[1]) == ids[3] == chat.prev_alternative(chat.node_ids[1])
    assert (await store.load("s")).to_json() == chat.to_json()
    after = await store.find_session("s")
    assert before is not None
    assert after is not None
    assert after.active_leaf_id == ids[3]
    assert after.revision > before.revision
    assert after.updated_at == before.updated_at
    assert await store.find_session("unknown") is None
    await store.delete("s")
    assert await store.select("s", ids[1]) is None
    assert await store.find_session("s") is None


@check
async def sessions_are_listed_by_owner_newest_first_and_by_pages(harness: SessionStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    chat = ChatHistory()
    _talk(chat, 1)
    for number in range(7):
        await store.save(f"s{number}", chat, owner="ada" if number % 2 else None)
    found = await other.list_sessions()
    newest_first = sorted(found, key=lambda one: (one.updated_at, one.session_id), reverse=True)
    assert found == newest_first
    assert len(found) == 7
    owned = await other.list_sessions(owner="ada")
    assert owned == [session for session in found if session.owner == "ada"]
    assert len(owned) == 3
    assert await other.list_sessions(owner="ada", limit=2, before=owned[0]) == owned[1:]
    assert await other.list_sessions(owner="nobody") == []
    pages = [await other.list_sessions(limit=3)]
    while pages[-1]:
        pages.append(await other.list_sessions(limit=3, before=pages[-1][-1]))
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [session for page in pages for session in page] == found
    with raises(ValueError):
        await store.list_sessions(limit=0)


@check
async def a_session_has_a_title_an_owner_and_a_revision(harness: SessionStoreHarness) -> None:
    store = await harness.open()
    assert not await store.rename("s", "unknown")
    chat = ChatHistory()
    _talk(chat, 1)
    await store.save("s", chat, owner="ada")
    (first,) = await store.list_sessions()
    assert (first.title, first.owner, first.expires_at) == (None, "ada", None)
    assert await store.rename("s", "Rivers")
    chat.append(say("two"))
    await store.save("s", chat, owner="somebody else", title="another title")
    (second,) = await store.list_sessions()
    assert (second.title, second.owner) == ("Rivers", "ada")
    assert second.revision > first.revision
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    await store.save("titled", ChatHistory(), title="Lakes")
    await store.save("titled", chat, title="another title")
    assert [session.title for session in await store.list_sessions()] == ["Lakes", "Rivers"]
