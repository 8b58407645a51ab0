"""Everything that was recorded from the JavaScript ChatHistory and MessageTree."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aibind.errors import MalformedTreeError, NodeNotFoundError
from aibind.history import ChatHistory, MessageTree, Siblings

from .support import numbered, recorded, timeless

CHATS = recorded("chat_history.json")
MALFORMED = recorded("malformed_trees.json")

# JavaScript's return nothing, whether they moved or not; ours say where the conversation ends now.
RETURN_NOTHING_IN_JAVASCRIPT = {"next_alternative", "prev_alternative"}


def run(chat: ChatHistory, op: list[Any]) -> Any:
    """Do one recorded operation and put its result the way the recording has it."""
    name = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", op[0])
    target: Any = chat
    if name.startswith("tree."):
        target, name = chat.tree, name.removeprefix("tree.")
    try:
        result = getattr(target, name)(*op[1:])
    except NodeNotFoundError as error:
        return {"error": str(error)}
    if name in RETURN_NOTHING_IN_JAVASCRIPT:
        return None
    if isinstance(result, Siblings):
        return {"siblings": [sibling.id for sibling in result.siblings], "index": result.index}
    if isinstance(result, tuple):
        return [leaf.id for leaf in result]
    return result


@pytest.mark.parametrize("case", CHATS, ids=lambda case: case["name"])
def test_a_recorded_chat_is_rebuilt_byte_for_byte(case: dict[str, Any]) -> None:
    chat = ChatHistory(generate_id=numbered())
    assert [run(chat, op) for op in case["ops"]] == case["results"]
    assert timeless(chat.to_json()) == timeless(case["json"])
    assert chat.messages == case["messages"]
    assert chat.node_ids == case["nodeIds"]
    assert (chat.size, chat.is_empty) == (case["size"], case["isEmpty"])


@pytest.mark.parametrize("case", CHATS, ids=lambda case: case["name"])
def test_a_recorded_chat_is_restored_and_saved_byte_for_byte(case: dict[str, Any]) -> None:
    chat = ChatHistory.from_json(case["json"])
    assert chat.to_json() == case["json"]
    assert chat.messages == case["messages"]
    assert chat.node_ids == case["nodeIds"]
    assert (chat.size, chat.is_empty) == (case["size"], case["isEmpty"])
    assert MessageTree.deserialize(chat.tree.serialize()).to_json() == case["json"]


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case["name"])
def test_a_recorded_malformed_tree_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedTreeError) as raised:
        ChatHistory.from_json(case["json"])
    if case["name"].startswith("not a tree"):  # JavaScript fails by accident, with whatever error it runs into
        assert str(raised.value).startswith("MessageTree: ")
    else:
        assert str(raised.value) == case["error"]
