"""Merging two copies of a conversation that grew apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibind.errors import MalformedTreeError
from aibind.history import ChatHistory, MessageTree

from .support import assistant, look_up, node, numbered, saved, user


def two_copies() -> tuple[ChatHistory, ChatHistory]:
    chat = ChatHistory(generate_id=numbered("a"))
    chat.append(user("question"))
    chat.append(assistant("answer"))
    return chat, ChatHistory.from_json(chat.to_json(), generate_id=numbered("b"))


def ids(tree: MessageTree) -> set[str]:
    return set(tree.serialize()["nodes"])


def test_both_continuations_are_kept_and_ours_stays_current() -> None:
    ours, theirs = two_copies()
    ours.append(user("ours"))
    theirs.append(user("theirs"))
    theirs.append(assistant("their answer"))
    before = theirs.to_json()
    assert ours.merge(theirs) == 2
    assert ours.messages[2:] == [user("ours")]
    assert [n.message for n in ours.tree.get_siblings("a3").siblings] == [user("ours"), user("theirs")]
    assert ours.next_alternative("a3") == "b2"
    assert ours.messages[2:] == [user("theirs"), assistant("their answer")]
    assert theirs.to_json() == before
    assert ours.tree.get("b2") == theirs.tree.get("b2")


def test_what_was_taken_over_is_independent() -> None:
    ours, theirs = two_copies()
    theirs.append(user("theirs"))
    ours.merge(theirs)
    ours.tree.branch("b1", assistant("below theirs"))
    theirs.append(assistant("elsewhere"))
    assert look_up(theirs.tree, "b1").children == ("b2",)
    assert look_up(ours.tree, "b1").children == ("a3",)
    assert ours.merge(theirs) == 1
    assert look_up(ours.tree, "b1").children == ("a3", "b2")


def test_roots_are_merged_like_children() -> None:
    ours, theirs = two_copies()
    ours.edit("a1", user("ours"))
    theirs.edit("a1", user("theirs"))
    theirs.edit("a1", user("theirs again"))
    ours.merge(theirs)
    assert ours.tree.root_ids == ("a1", "a3", "b1", "b2")
    assert ours.messages == [user("ours")]


def test_merging_the_same_or_less_changes_nothing() -> None:
    ours, theirs = two_copies()
    ours.append(user("ours"))
    before = ours.to_json()
    assert ours.merge(theirs) == 0
    assert ours.merge(ours) == 0
    assert ours.to_json() == before


def test_an_empty_chat_takes_over_where_the_other_is() -> None:
    _, theirs = two_copies()
    empty = ChatHistory()
    assert empty.merge(theirs) == 2
    assert empty.to_json() == theirs.to_json()
    assert theirs.merge(ChatHistory()) == 0


def test_a_merged_chat_can_be_restored() -> None:
    ours, theirs = two_copies()
    ours.regenerate("a2", assistant("ours"))
    theirs.regenerate("a2", assistant("theirs"))
    ours.merge(theirs)
    assert ChatHistory.from_json(ours.to_json()).to_json() == ours.to_json()


@pytest.mark.parametrize(
    "change",
    [{"message": {"role": "user", "content": "B"}}, {"metadata": {"x": 1}}, {"x": 1}],
    ids=["message", "metadata", "unknown field"],
)
def test_one_id_with_two_meanings_is_an_error_and_nothing_is_merged(change: dict[str, Any]) -> None:
    ours = MessageTree.deserialize(saved([node("a", None, ("b",)), node("b", "a")], ["a"], "b"))
    theirs = MessageTree.deserialize(
        saved([node("new"), node("a", None, ("b",)), node("b", "a", **change)], ["new", "a"])
    )
    before = ours.to_json()
    with pytest.raises(MalformedTreeError, match=r'^MessageTree: node "b" is not the same in both trees$'):
        ours.merge(theirs)
    assert ours.to_json() == before


def test_one_message_that_two_processes_added_at_different_times_is_one() -> None:
    ours = MessageTree.deserialize(saved([node("a", None, ("b",)), node("b", "a")], ["a"], "b"))
    theirs = MessageTree.deserialize(
        saved([node("a", None, ("b", "c")), node("b", "a", createdAt="2026-01-02"), node("c", "a")], ["a"])
    )
    before = ours.get("b")
    assert ours.merge(theirs) == 1
    assert ours.get("b") == before
    above = ours.get("a")
    assert above is not None
    assert above.children == ("b", "c")


def test_one_id_in_two_places_is_an_error() -> None:
    ours = MessageTree.deserialize(saved([node("a", None, ("b",)), node("b", "a")], ["a"]))
    theirs = MessageTree.deserialize(saved([node("a"), node("b")], ["a", "b"]))
    with pytest.raises(MalformedTreeError, match='"b" is not the same'):
        ours.merge(theirs)


def test_a_node_is_the_same_however_it_was_printed() -> None:
    ours = MessageTree.deserialize(saved([node("a", metadata={"x": 1, "y": "é"})], ["a"]))
    theirs = MessageTree.from_json(ours.to_json().replace('"x":1', '"x": 1.0').replace("é", "\\u00E9"))
    assert ours.merge(theirs) == 0


def test_what_one_side_removed_comes_back() -> None:
    ours, theirs = two_copies()
    ours.tree.remove("a2")
    assert ours.merge(theirs) == 1
    assert look_up(ours.tree, "a1").children == ("a2",)
    assert ours.node_ids == ["a1"]


def test_what_was_compacted_stays_away() -> None:
    ours, theirs = two_copies()
    ours.compact(assistant("summary"))
    assert ours.merge(theirs) == 0
    assert (ours.messages, ours.size) == ([assistant("summary")], 1)


def test_a_turn_that_the_summary_cannot_know_is_not_lost() -> None:
    ours, theirs = two_copies()
    theirs.edit("a1", user("an alternative that is summed up as well"))
    theirs.tree.set_active_leaf("a2")
    ours.merge(theirs)
    ours.compact(assistant("summary"))
    theirs.append(user("meanwhile"))
    assert ours.merge(theirs) == 3
    assert ours.messages == [assistant("summary")]
    assert ours.has_alternatives(ours.node_ids[0])
    assert "b1" not in ours.tree
    ours.next_alternative(ours.node_ids[0])
    assert ours.messages == [user("question"), assistant("answer"), user("meanwhile")]
    assert ours.merge(theirs) == 0


def test_a_restored_summary_stays_current_before_what_it_replaced() -> None:
    ours, theirs = two_copies()
    ours.compact(assistant("summary"))
    ours = ChatHistory.from_json(ours.to_json())
    assert ours.merge(theirs) == 2
    assert ours.messages == [assistant("summary")]
    assert ours.tree.root_ids == (ours.node_ids[0], "a1")


def test_a_summary_made_elsewhere_becomes_an_alternative() -> None:
    ours, theirs = two_copies()
    theirs.compact(assistant("summary"))
    ours.append(user("not summed up"))
    assert ours.merge(theirs) == 1
    assert ours.messages[-1] == user("not summed up")
    assert ours.tree.root_ids == ("a1", "b1")


def test_unknown_fields_of_the_tree_stay_ours() -> None:
    ours = MessageTree.deserialize({**saved([node("a")], ["a"]), "title": "ours"})
    theirs = MessageTree.deserialize({**saved([node("b")], ["b"]), "title": "theirs"})
    ours.merge(theirs)
    assert ours.serialize()["title"] == "ours"


# --- what holds for any two trees ------------------------------------------------------------------------------------

steps = st.lists(st.tuples(st.sampled_from(["add_child", "branch", "root", "remove"]), st.integers(0, 50)), max_size=15)


def grow(tree: MessageTree, todo: list[tuple[str, int]]) -> None:
    for what, number in todo:
        known = sorted(ids(tree))
        if what == "root" or not known:
            tree.add_root(user(f"root {number}"))
        else:
            target = known[number % len(known)]
            getattr(tree, what)(*([target] if what == "remove" else [target, user(str(number))]))


@given(steps, steps, steps)
@settings(max_examples=150, deadline=None)
def test_merging_is_a_union(common: Any, only_ours: Any, only_theirs: Any) -> None:
    origin = MessageTree(generate_id=numbered("c"))
    grow(origin, common)
    ours = MessageTree.from_json(origin.to_json(), generate_id=numbered("a"))
    theirs = MessageTree.from_json(origin.to_json(), generate_id=numbered("b"))
    grow(ours, only_ours)
    grow(theirs, only_theirs)
    ours_before, theirs_before = ours.serialize(), theirs.serialize()
    backwards = MessageTree.from_json(theirs.to_json())
    backwards.merge(ours)

    assert ours.merge(theirs) == len(ids(theirs) - set(ours_before["nodes"]))
    merged = ours.serialize()
    assert set(merged["nodes"]) == set(ours_before["nodes"]) | set(theirs_before["nodes"])  # a union
    assert ids(backwards) == ids(ours)  # from either side
    assert theirs.serialize() == theirs_before
    assert MessageTree.from_json(ours.to_json()).to_json() == ours.to_json()  # whole and consistent
    assert merged["activeLeafId"] == (ours_before if ours_before["nodes"] else theirs_before)["activeLeafId"]
    assert ours.merge(theirs) == 0  # idempotent
    assert ours.merge(backwards) == 0
    assert ours.serialize() == merged

    # Everyone's order is kept, ours first.
    lists = [(merged["rootIds"], ours_before["rootIds"], theirs_before["rootIds"])]
    for node_id, merged_node in merged["nodes"].items():
        sides = [side["nodes"].get(node_id, {}).get("children", []) for side in (ours_before, theirs_before)]
        lists.append((merged_node["children"], *sides))
    for together, first, second in lists:
        assert together == first + [node_id for node_id in second if node_id not in first]
