"""ChatHistory: a conversation with alternatives."""

from __future__ import annotations

import re

import pytest

import aibind.history
from aibind.errors import HistoryError, MalformedTreeError, NodeNotFoundError
from aibind.history import ChatHistory

from .support import assistant, look_up, numbered, timeless, user


def small_chat() -> ChatHistory:
    chat = ChatHistory(generate_id=numbered())
    chat.append(user("question"))
    chat.append(assistant("answer"))
    chat.append(user("more"))
    return chat


def test_the_rooms_public_names() -> None:
    assert aibind.history.__all__ == sorted(aibind.history.__all__)
    assert all(hasattr(aibind.history, name) for name in aibind.history.__all__)


def test_a_conversation_reads_from_its_beginning() -> None:
    chat = small_chat()
    assert chat.messages == [user("question"), assistant("answer"), user("more")]
    assert chat.node_ids == ["n1", "n2", "n3"]
    assert (chat.size, chat.is_empty) == (3, False)
    assert ChatHistory().is_empty
    assert ChatHistory().messages == []
    assert ChatHistory().node_ids == []


def test_metadata_is_kept_beside_a_message() -> None:
    chat = ChatHistory()
    first = chat.append(user("question"), {"streamId": "s1"})
    second = chat.edit(first, user("other"), {"streamId": "s2"})
    third = chat.regenerate(second, user("another"), {"streamId": "s3"})
    assert [look_up(chat.tree, i).metadata["streamId"] for i in (first, second, third)] == ["s1", "s2", "s3"]
    assert chat.messages == [user("another")]


def test_messages_are_copies() -> None:
    chat = small_chat()
    chat.messages[0]["content"] = "changed"
    chat.messages.clear()
    chat.node_ids.clear()
    assert chat.messages[0] == user("question")


def test_an_edit_is_an_alternative_that_the_conversation_continues_from() -> None:
    chat = small_chat()
    assert chat.edit("n1", user("other question")) == "n4"
    assert chat.messages == [user("other question")]
    assert chat.regenerate("n2", assistant("better")) == "n5"
    assert chat.messages == [user("question"), assistant("better")]
    assert [chat.alternative_count(i) for i in ("n1", "n2", "n3")] == [2, 2, 1]
    assert [chat.alternative_index(i) for i in ("n1", "n4", "n2", "n5", "n3")] == [0, 1, 0, 1, 0]
    assert [chat.has_alternatives(i) for i in ("n1", "n5", "n3")] == [True, True, False]


def test_going_through_alternatives_tells_where_the_conversation_ends() -> None:
    chat = small_chat()
    chat.edit("n1", user("other question"))
    assert chat.next_alternative("n4") is None
    assert chat.prev_alternative("n4") == "n3"
    assert chat.node_ids == ["n1", "n2", "n3"]
    assert chat.prev_alternative("n1") is None
    assert chat.next_alternative("n1") == "n4"
    assert chat.node_ids == ["n4"]


@pytest.mark.parametrize("method", ["edit", "regenerate"])
def test_another_version_of_an_unknown_message_is_an_error(method: str) -> None:
    with pytest.raises(NodeNotFoundError, match=r'^ChatHistory: message "nope" does not exist$') as raised:
        getattr(small_chat(), method)("nope", user("x"))
    assert raised.value.node_id == "nope"


@pytest.mark.parametrize(
    "method", ["has_alternatives", "alternative_count", "alternative_index", "next_alternative", "prev_alternative"]
)
def test_alternatives_of_an_unknown_message_are_an_error(method: str) -> None:
    with pytest.raises(NodeNotFoundError, match=r'^MessageTree: node "nope" does not exist$'):
        getattr(small_chat(), method)("nope")


def test_compacting_leaves_one_message_that_says_so() -> None:
    chat = small_chat()
    chat.edit("n1", user("other question"))
    assert chat.compact({"role": "system", "content": "summary"}) == "n5"
    assert (chat.messages, chat.size) == ([{"role": "system", "content": "summary"}], 1)
    assert timeless(chat.to_json()) == (
        '{"version":1,"nodes":{"n5":{"id":"n5","message":{"role":"system","content":"summary"},"parentId":null,'
        '"children":[],"metadata":{"compacted":true,"compactedAt":"…"},"createdAt":"…"}},'
        '"rootIds":["n5"],"activeLeafId":"n5"}'
    )
    compacted_at = look_up(chat.tree, "n5").metadata["compactedAt"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", compacted_at)
    assert compacted_at <= look_up(chat.tree, "n5").created_at
    assert chat.append(user("go on")) == "n6"


def test_compacting_with_what_is_not_json_loses_nothing() -> None:
    chat = small_chat()
    before = chat.to_json()
    with pytest.raises(HistoryError):
        chat.compact({"content": b"summary"})
    assert chat.to_json() == before


def test_a_chat_is_restored_where_it_was() -> None:
    chat = small_chat()
    chat.edit("n1", user("other question"))
    chat.prev_alternative("n4")
    again = ChatHistory.from_json(chat.to_json(), generate_id=numbered("m"))
    assert again.to_json() == chat.to_json()
    assert again.node_ids == ["n1", "n2", "n3"]
    assert again.append(assistant("more")) == "m1"
    assert again.messages[-1] == assistant("more")
    with pytest.raises(MalformedTreeError, match="not JSON"):
        ChatHistory.from_json("")


def test_the_tree_is_the_conversations_own() -> None:
    chat = small_chat()
    chat.tree.set_active_leaf("n2")
    assert chat.node_ids == ["n1", "n2"]
