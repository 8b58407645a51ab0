"""The contract of conversation stores, as checks (contract, section 7)."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from .._time import sleep
from ..conversations.store import ConversationStore
from ..history import ChatHistory
from .checks import Check, CheckList, CheckSkipped, wait_until

__all__ = ["ConversationStoreHarness", "conversation_store_checks"]

_MAX_TTL_MS = 3000
"""The longest time to live, in milliseconds, that a check waits for."""


class ConversationStoreHarness(Protocol):
    """A source of conversation stores over one set of data, which is empty at first.

    ``min_ttl_ms`` is the shortest time to live that the store accepts, in milliseconds. A check that would have to
    wait for longer than a few seconds is skipped.
    """

    min_ttl_ms: int

    async def open(self, *, ttl_ms: int = 1_800_000) -> ConversationStore:
        """Return a new store object over the same data, as another process would have. A check opens several."""
        ...


def conversation_store_checks() -> tuple[Check[ConversationStoreHarness], ...]:
    """Return the checks that every conversation store must pass.

    A check that does not apply to a store raises ``unittest.SkipTest`` with the reason.
    """
    return check.checks()


check: CheckList[ConversationStoreHarness] = CheckList()


def _chat(*texts: str) -> ChatHistory:
    chat = ChatHistory()
    for number, text in enumerate(texts):
        chat.append({"role": "assistant" if number % 2 else "user", "content": text})
    return chat


def _texts(chat: ChatHistory) -> list[str]:
    return [message["content"] for message in chat.messages]


# --- what is saved and loaded ---


@check
async def an_unknown_session_is_empty(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    chat = await store.load("none")
    assert chat.is_empty
    chat.append({"role": "user", "content": "mine alone"})
    assert (await store.load("none")).is_empty


@check
async def what_was_saved_is_loaded(harness: ConversationStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    chat = _chat('héllo 👩‍👩‍👧\r\n\0 \u2028 \\ "quoted"', "two", "")
    edited = {"role": "assistant", "content": "another two", "n": 1.5, "list": [None, True]}
    chat.edit(chat.node_ids[1], edited, {"why": None})
    await store.save("s", chat)
    loaded = await other.load("s")
    assert loaded.to_json() == chat.to_json()
    assert loaded.messages == chat.messages
    assert loaded.size == 4
    assert loaded.alternative_count(loaded.node_ids[1]) == 2


@check
async def half_a_character_is_kept(harness: ConversationStoreHarness) -> None:
    """JavaScript cuts text between the halves of a character, and stores each half as it is."""
    store = await harness.open()
    chat = _chat("half \ud83d")
    await store.save("s", chat)
    assert (await store.load("s")).messages == chat.messages


@check
async def an_empty_conversation_is_kept(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    await store.save("s", ChatHistory())
    assert (await store.load("s")).is_empty


@check
async def a_long_conversation_is_kept(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    chat = _chat(*(f"{number} " + "word " * 40 for number in range(2000)))
    await store.save("s", chat)
    assert (await store.load("s")).to_json() == chat.to_json()


@check
async def what_is_loaded_is_a_copy(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    chat = _chat("one")
    await store.save("s", chat)
    chat.append({"role": "assistant", "content": "not saved"})
    (await store.load("s")).append({"role": "assistant", "content": "nor this"})
    assert _texts(await store.load("s")) == ["one"]


@check
async def a_loaded_conversation_can_be_continued(harness: ConversationStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    await store.save("s", _chat("one"))
    for text in ("two", "three", "four"):
        chat = await other.load("s")
        chat.append({"role": "user", "content": text})
        await other.save("s", chat)
    assert _texts(await store.load("s")) == ["one", "two", "three", "four"]


@check
async def saving_the_same_twice_changes_nothing(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    chat = _chat("one", "two")
    await store.save("s", chat)
    await store.save("s", chat)
    assert (await store.load("s")).to_json() == chat.to_json()


@check
async def a_compacted_conversation_is_short(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    await store.save("s", _chat("one", "two", "three"))
    chat = await store.load("s")
    chat.compact({"role": "system", "content": "what was said"})
    await store.save("s", chat)
    assert _texts(await store.load("s")) == ["what was said"]


# --- several writers ---


@check
async def saves_that_cross_keep_both_sides(harness: ConversationStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    await store.save("s", _chat("one", "two"))
    mine, theirs = await store.load("s"), await other.load("s")
    mine.append({"role": "user", "content": "mine"})
    theirs.append({"role": "user", "content": "theirs"})
    await store.save("s", mine)
    await other.save("s", theirs)
    mine.append({"role": "assistant", "content": "mine as well"})
    await store.save("s", mine)
    chat = await other.load("s")
    assert _texts(chat) == ["one", "two", "mine", "mine as well"]
    assert [leaf.message["content"] for leaf in chat.tree.get_leaves()] == ["mine as well", "theirs"]


@check
async def what_was_removed_stays_away(harness: ConversationStoreHarness) -> None:
    store, other = await harness.open(), await harness.open()
    await store.save("s", _chat("one", "two", "three"))
    chat = await other.load("s")
    chat.tree.remove(chat.node_ids[1])
    await other.save("s", chat)
    chat.append({"role": "assistant", "content": "another two"})
    await other.save("s", chat)
    assert (await store.load("s")).to_json() == chat.to_json()


# --- several sessions ---


@check
async def sessions_do_not_mix(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    ids = ["a", "A", "a:b", "a'b", 'a"b', "'; DROP TABLE a; --", "ü 👋", "1", "1.0", "%", "a_b", "../x", "x" * 200]
    for session_id in ids:
        await store.save(session_id, _chat("chat of " + session_id))
    for session_id in ids:
        assert _texts(await store.load(session_id)) == ["chat of " + session_id]


@check
async def many_sessions_go_on_at_once(harness: ConversationStoreHarness) -> None:
    store = await harness.open()

    async def talk(session_id: str) -> None:
        for turn in range(3):
            chat = await store.load(session_id)
            assert len(chat.messages) == turn
            chat.append({"role": "user", "content": f"{session_id} {turn}"})
            await store.save(session_id, chat)

    sessions = [f"s{number}" for number in range(30)]
    await asyncio.gather(*map(talk, sessions))
    for session_id in sessions:
        assert _texts(await store.load(session_id)) == [f"{session_id} {turn}" for turn in range(3)]


@check
async def a_deleted_session_is_empty(harness: ConversationStoreHarness) -> None:
    store = await harness.open()
    await store.save("a", _chat("a"))
    await store.save("b", _chat("b"))
    await store.delete("a")
    await store.delete("a")
    await store.delete("never there")
    assert (await store.load("a")).is_empty
    assert _texts(await store.load("b")) == ["b"]
    await store.save("a", _chat("again"))
    assert _texts(await store.load("a")) == ["again"]


# --- the time to live ---


@check
async def an_expired_session_is_empty(harness: ConversationStoreHarness) -> None:
    if harness.min_ttl_ms > _MAX_TTL_MS:
        raise CheckSkipped(f"no session of this store expires within 3 s: min_ttl_ms is {harness.min_ttl_ms}")
    store = await harness.open(ttl_ms=harness.min_ttl_ms)
    lasting = await harness.open()
    await lasting.save("other", _chat("one"))
    await store.save("s", _chat("one", "two"))

    async def has_expired() -> bool:
        return (await store.load("s")).is_empty

    await wait_until(has_expired)
    assert _texts(await lasting.load("other")) == ["one"]
    await lasting.save("s", _chat("another"))
    assert _texts(await lasting.load("s")) == ["another"]


@check
async def time_to_live_counts_from_the_last_save(harness: ConversationStoreHarness) -> None:
    if harness.min_ttl_ms > 500:
        raise CheckSkipped(f"no session of this store expires within 500 ms: min_ttl_ms is {harness.min_ttl_ms}")
    for ttl_s in (0.5, 0.5, 2.0, 8.0):
        store = await harness.open(ttl_ms=int(ttl_s * 1000))
        session_id = f"kept for {ttl_s} s"
        await store.save(session_id, _chat("one"))
        await sleep(ttl_s * 0.7)
        saved_at = time.monotonic()
        await store.save(session_id, _chat("one", "two"))
        await sleep(ttl_s * 0.7)
        texts = _texts(await store.load(session_id))
        if time.monotonic() - saved_at < ttl_s:  # otherwise the machine paused, and it may have expired
            assert texts == ["one", "two"]
            return
    raise AssertionError("This machine paused during every attempt: run the check again")
