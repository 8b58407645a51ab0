"""Conversations of 100,000 messages: built, saved, restored, walked and merged without recursion."""

from __future__ import annotations

from typing import Any

import pytest

from aibind.errors import MalformedTreeError
from aibind.history import ChatHistory, MessageTree

from .support import assistant, look_up, numbered, user

COUNT = 100_000


@pytest.fixture(scope="module")
def chain() -> str:
    chat = ChatHistory(generate_id=numbered())
    for number in range(COUNT // 2):
        chat.append(user(f"question {number}"))
        chat.append(assistant(f"answer {number} 👋"))
    return chat.to_json()


def test_a_long_chat_is_restored_and_saved(chain: Any) -> None:
    chat = ChatHistory.from_json(chain, generate_id=numbered("later"))
    assert chat.size == COUNT
    assert chat.to_json() == chain
    messages = chat.messages
    assert len(messages) == COUNT
    assert messages[-1] == assistant("answer 49999 👋")
    assert chat.tree.depth(f"n{COUNT}") == COUNT - 1
    assert [leaf.id for leaf in chat.tree.get_leaves()] == [f"n{COUNT}"]
    assert chat.tree.get_active_path(limit=2).node_ids == (f"n{COUNT - 1}", f"n{COUNT}")
    chat.append(user("one more"))
    again = ChatHistory.from_json(chat.to_json())
    assert again.size == COUNT + 1
    assert again.node_ids[-1] == "later1"


def test_a_long_chat_can_be_walked_merged_and_removed(chain: Any) -> None:
    tree = MessageTree.from_json(chain, generate_id=numbered("ours"))
    tree.add_root(user("another"))
    assert tree.prev_sibling("ours1") == f"n{COUNT}"
    other = MessageTree(generate_id=numbered("theirs"))
    other.append(user("elsewhere"))
    assert other.merge(tree) == COUNT + 1
    assert tree.merge(other) == 1
    assert tree.active_leaf_id == f"n{COUNT}"
    tree.remove("n2")
    assert tree.size == 3
    assert tree.active_leaf_id == "n1"


def test_a_long_chat_is_checked_to_its_end(chain: Any) -> None:
    broken = chain.replace(f'"parentId":"n{COUNT - 1}"', '"parentId":"n5"')
    with pytest.raises(MalformedTreeError, match=f'child "n{COUNT}" parentId does not match parent "n{COUNT - 1}"'):
        ChatHistory.from_json(broken)
    ring = chain.replace('"rootIds":["n1"]', '"rootIds":[]')
    ring = ring.replace('"parentId":null', f'"parentId":"n{COUNT}"')
    ring = ring.replace('"children":[]', '"children":["n1"]')
    with pytest.raises(MalformedTreeError, match='node "n1" is part of a cycle'):
        ChatHistory.from_json(ring)


def test_one_message_with_many_alternatives() -> None:
    chat = ChatHistory(generate_id=numbered())
    chat.append(user("question"))
    for number in range(COUNT):
        chat.tree.branch("n1", assistant(f"answer {number}"))
    chat.edit("n2", assistant("yet another"))
    last = chat.node_ids[-1]
    assert chat.alternative_count("n2") == chat.alternative_index(last) + 1 == COUNT + 1
    text = chat.to_json()
    again = ChatHistory.from_json(text)
    assert again.to_json() == text
    assert look_up(again.tree, "n1").children[-1] == last
    assert len(again.tree.get_siblings("n2").siblings) == COUNT + 1
    assert ChatHistory().merge(again) == COUNT + 2


def test_many_conversations_that_branch() -> None:
    tree = MessageTree(generate_id=numbered())
    for number in range(COUNT):
        if number % 1000 == 0:
            tree.add_root(user(f"{number}"))
        elif number % 10 == 0:
            tree.branch(f"n{number - 5}", user(f"{number}"))
        else:
            tree.append(assistant(f"{number}"))
    text = tree.to_json()
    again = MessageTree.from_json(text)
    assert again.to_json() == text
    assert (again.size, len(again.root_ids), len(again.get_leaves())) == (COUNT, 100, 10_000)
    assert again.get_leaves() == tree.get_leaves()
