"""Conversations of which a store loaded only the end: what can be done with them, and what says that it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aibind.errors import PartialHistoryError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3


def ask(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def load_end(path: Path, limit: int = 3) -> tuple[ChatHistory, list[str]]:
    """Return the last messages of a chat of ten, and the ids of all."""
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteMessageStore(client)
        chat = ChatHistory()
        ids = [chat.append(ask(str(number))) for number in range(10)]
        await store.save("s", chat)
        return await store.load("s", limit=limit), ids


NEEDS_ALL: list[Callable[[ChatHistory, str], object]] = [
    lambda chat, _: chat.to_json(),
    lambda chat, _: chat.size,
    lambda chat, last: chat.has_alternatives(last),
    lambda chat, last: chat.alternative_index(last),
    lambda chat, last: chat.next_alternative(last),
    lambda chat, last: chat.prev_alternative(last),
    lambda chat, _: chat.merge(ChatHistory()),
    lambda chat, _: ChatHistory().merge(chat),
    lambda chat, _: chat.tree.root_ids,
    lambda chat, _: chat.tree.get_leaves(),
    lambda chat, last: chat.tree.depth(last),
    lambda chat, last: chat.tree.get_siblings(last),
    lambda chat, last: chat.tree.remove(last),
    lambda chat, _: chat.tree.clear(),
    lambda chat, _: chat.tree.serialize(),
    lambda chat, _: chat.tree.unsaved("another session"),
    lambda chat, _: chat.tree.unsaved("another session", whole=True),
]


@pytest.mark.parametrize("operation", NEEDS_ALL, ids=range(len(NEEDS_ALL)))
async def test_what_needs_all_of_a_conversation_says_so(
    operation: Callable[[ChatHistory, str], object], tmp_path: Path
) -> None:
    chat, ids = await load_end(tmp_path / "aibind.db")
    with pytest.raises(PartialHistoryError, match="without a limit"):
        operation(chat, ids[-1])
    assert chat.node_ids == ids[-3:]


async def test_the_end_of_a_conversation_knows_that_there_is_more(tmp_path: Path) -> None:
    chat, ids = await load_end(tmp_path / "aibind.db")
    assert chat.is_partial
    assert chat.has_more_above
    assert chat.tree.has_more_above(ids[-3])
    assert chat.node_ids == ids[-3:]
    assert [message["content"] for message in chat.messages] == ["7", "8", "9"]
    assert not chat.is_empty
    assert "partial" in repr(chat)


async def test_the_whole_path_has_no_more_above(tmp_path: Path) -> None:
    chat, ids = await load_end(tmp_path / "aibind.db", limit=10)
    assert chat.is_partial
    assert not chat.has_more_above
    assert chat.node_ids == ids


async def test_a_whole_conversation_is_not_partial() -> None:
    chat = ChatHistory()
    assert not chat.is_partial
    assert not chat.has_more_above
    chat.append(ask("one"))
    assert not chat.has_more_above


async def test_the_first_message_that_was_loaded_can_be_edited(tmp_path: Path) -> None:
    chat, ids = await load_end(tmp_path / "aibind.db")
    edited = chat.edit(ids[-3], ask("seven"))
    assert chat.node_ids == [edited]
    assert chat.has_more_above
    node = chat.tree.get(edited)
    assert node is not None
    assert node.parent_id == ids[-4]


async def test_a_summary_stands_for_what_was_not_loaded(tmp_path: Path) -> None:
    chat, _ = await load_end(tmp_path / "aibind.db")
    summary = chat.compact(ask("all of it"))
    assert chat.node_ids == [summary]
    assert not chat.has_more_above
