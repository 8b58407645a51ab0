"""MessageTree: what it holds, what it refuses, and how it is restored."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from aibind.errors import HistoryError, MalformedTreeError, NodeNotFoundError
from aibind.history import MessageTree, Siblings, TreeNode, TreePath, reader
from aibind.history.entry import Entry, entry_from_data

from .support import assistant, compact_json, look_up, node, numbered, saved, user


def small_tree() -> MessageTree:
    """Make n1 → (n2 → (n4, n5), n3) and a second root n6, which is active."""
    tree = MessageTree(generate_id=numbered())
    tree.append(user("n1"))
    tree.append(assistant("n2"))
    tree.add_child("n1", assistant("n3"))
    tree.branch("n2", user("n4"))
    tree.branch("n2", user("n5"))
    tree.add_root(user("n6"))
    return tree


def test_an_empty_tree() -> None:
    tree = MessageTree()
    assert (tree.size, tree.is_empty, tree.root_ids, tree.active_leaf_id) == (0, True, (), None)
    assert tree.get_active_path() == TreePath((), ())
    assert tree.get_leaves() == ()
    assert tree.get("n1") is None
    assert not tree.has("n1")
    assert "n1" not in tree


def test_a_node_tells_its_message_and_its_place() -> None:
    tree = MessageTree(generate_id=numbered())
    before = datetime.now(UTC)
    tree.append(user("hello"), {"model": "fast"})
    tree.append(assistant("hi"))
    found = look_up(tree, "n1")
    assert found == TreeNode("n1", user("hello"), None, ("n2",), {"model": "fast"}, found.created_at)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.created_at)
    assert -0.002 < (datetime.fromisoformat(found.created_at) - before).total_seconds() < 60
    assert look_up(tree, "n2").parent_id == "n1"
    assert look_up(tree, "n2").metadata == {}
    assert tree.has("n2")
    assert "n2" in tree


def test_ids_are_random_unless_they_are_given() -> None:
    first, second = MessageTree(), MessageTree()
    ids = {first.append(user("a")), first.append(user("b")), second.append(user("a"))}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", i) for i in ids)


def test_every_way_to_add_sets_or_keeps_the_active_leaf() -> None:
    tree = MessageTree(generate_id=numbered())
    tree.append(user("a"))
    assert tree.active_leaf_id == "n1"
    tree.add_child("n1", assistant("b"))
    assert tree.active_leaf_id == "n1"
    tree.branch("n1", assistant("c"))
    assert tree.active_leaf_id == "n3"
    tree.add_root(user("d"))
    assert (tree.active_leaf_id, tree.root_ids) == ("n4", ("n1", "n4"))
    tree.add_sibling("n2", assistant("e"))
    assert (tree.active_leaf_id, look_up(tree, "n1").children) == ("n5", ("n2", "n3", "n5"))
    tree.add_sibling("n1", assistant("f"))
    assert (tree.active_leaf_id, tree.root_ids) == ("n6", ("n1", "n4", "n6"))
    tree.set_active_leaf("n3")
    assert tree.append(user("g")) == "n7"
    assert tree.get_active_path().node_ids == ("n1", "n3", "n7")


def test_paths_run_from_the_root_and_can_be_cut_short() -> None:
    tree = small_tree()
    path = tree.get_path_to("n5")
    assert path == TreePath((user("n1"), assistant("n2"), user("n5")), ("n1", "n2", "n5"))
    assert tree.get_path_to("n5", limit=2).node_ids == ("n2", "n5")
    assert tree.get_path_to("n5", limit=0) == TreePath((), ())
    assert tree.get_path_to("n5", limit=9) == path
    tree.set_active_leaf("n4")
    assert tree.get_active_path().node_ids == ("n1", "n2", "n4")
    assert tree.get_active_path(limit=1).node_ids == ("n4",)
    assert [tree.depth(node_id) for node_id in ("n1", "n2", "n4", "n6")] == [0, 1, 2, 0]


def test_leaves_come_depth_first() -> None:
    assert [leaf.id for leaf in small_tree().get_leaves()] == ["n4", "n5", "n3", "n6"]


def test_siblings_are_the_parents_children_or_the_roots() -> None:
    tree = small_tree()
    assert tree.get_siblings("n3") == Siblings((look_up(tree, "n2"), look_up(tree, "n3")), 1)
    assert tree.get_sibling_ids("n3") == ("n2", "n3")
    assert [sibling.id for sibling in tree.get_siblings("n1").siblings] == ["n1", "n6"]


def test_moving_to_a_sibling_goes_down_its_first_children() -> None:
    tree = small_tree()
    assert tree.prev_sibling("n6") == "n4"
    assert tree.active_leaf_id == "n4"
    assert tree.next_sibling("n4") == "n5"
    assert tree.next_sibling("n5") is None
    assert tree.active_leaf_id == "n5"
    assert tree.next_sibling("n2") == "n3"
    assert tree.prev_sibling("n3") == "n4"
    assert tree.prev_sibling("n1") is None
    assert tree.active_leaf_id == "n4"


@pytest.mark.parametrize(
    ("active", "removed", "left", "active_after"),
    [
        ("n5", "n4", ["n1", "n2", "n5", "n3", "n6"], "n5"),
        ("n5", "n5", ["n1", "n2", "n4", "n3", "n6"], "n4"),
        ("n4", "n2", ["n1", "n3", "n6"], "n3"),
        ("n3", "n3", ["n1", "n2", "n4", "n5", "n6"], "n4"),  # the last remaining child, then first children
        ("n6", "n6", ["n1", "n2", "n4", "n5", "n3"], "n4"),
        ("n5", "n1", ["n6"], "n6"),
        ("n6", "n1", ["n6"], "n6"),
    ],
)
def test_removing_takes_the_subtree_and_the_conversation_goes_on_beside_it(
    active: str, removed: str, left: list[str], active_after: str
) -> None:
    tree = small_tree()
    tree.set_active_leaf(active)
    tree.remove(removed)
    assert tree.size == len(left)
    assert all(node_id in tree for node_id in left)
    assert tree.active_leaf_id == active_after
    assert MessageTree.from_json(tree.to_json()).to_json() == tree.to_json()


def test_removing_the_last_child_goes_back_to_the_parent_and_the_last_root_to_nothing() -> None:
    tree = MessageTree(generate_id=numbered())
    tree.append(user("a"))
    tree.append(assistant("b"))
    tree.remove("n2")
    assert tree.active_leaf_id == "n1"
    tree.remove("n1")
    assert tree.active_leaf_id is None
    assert (tree.size, tree.root_ids) == (0, ())


def test_of_several_left_the_conversation_goes_on_at_the_last() -> None:
    tree = small_tree()
    tree.branch("n2", user("n7"))
    tree.remove("n7")
    assert tree.active_leaf_id == "n5"
    tree.add_root(user("n8"))
    tree.remove("n8")
    assert tree.active_leaf_id == "n6"


def test_removing_leaves_no_active_leaf_where_there_was_none() -> None:
    tree = MessageTree.deserialize(saved([node("a"), node("b")], ["a", "b"]))
    tree.remove("a")
    assert tree.active_leaf_id is None
    assert tree.append(user("c")) in tree.root_ids


def test_clear_and_replace_all_leave_nothing_behind() -> None:
    tree = small_tree()
    assert tree.replace_all(user("summary"), {"x": 1}) == "n7"
    assert (tree.size, tree.root_ids, tree.active_leaf_id) == (1, ("n7",), "n7")
    assert look_up(tree, "n7").metadata == {"x": 1}
    tree.clear()
    assert tree.to_json() == MessageTree().to_json()
    assert tree.append(user("again")) == "n8"


def test_replace_all_removes_nothing_when_the_new_message_is_refused() -> None:
    tree = small_tree()
    before = tree.to_json()
    with pytest.raises(HistoryError):
        tree.replace_all({"content": {1, 2}})
    assert tree.to_json() == before


@pytest.mark.parametrize(
    "use",
    [
        lambda tree: tree.add_child("nope", {}),
        lambda tree: tree.branch("nope", {}),
        lambda tree: tree.add_sibling("nope", {}),
        lambda tree: tree.set_active_leaf("nope"),
        lambda tree: tree.get_siblings("nope"),
        lambda tree: tree.get_sibling_ids("nope"),
        lambda tree: tree.next_sibling("nope"),
        lambda tree: tree.prev_sibling("nope"),
        lambda tree: tree.get_path_to("nope"),
        lambda tree: tree.get_path_to("nope", limit=0),
        lambda tree: tree.depth("nope"),
        lambda tree: tree.remove("nope"),
    ],
)
def test_an_unknown_id_is_an_error_and_changes_nothing(use: Any) -> None:
    tree = small_tree()
    before = tree.to_json()
    with pytest.raises(NodeNotFoundError, match=r'^MessageTree: node "nope" does not exist$') as raised:
        use(tree)
    assert raised.value.node_id == "nope"
    assert isinstance(raised.value, LookupError)
    assert tree.to_json() == before


@pytest.mark.parametrize(
    ("generated", "problem"),
    [
        ("n1", 'generate_id returned "n1" again: every id must be new'),
        (7, "generate_id returned 7: an id must be a str"),
    ],
)
def test_a_bad_generated_id_is_an_error_and_changes_nothing(generated: Any, problem: str) -> None:
    ids = iter(["n1", generated])
    tree = MessageTree(generate_id=lambda: next(ids))
    tree.append(user("a"))
    before = tree.to_json()
    with pytest.raises(HistoryError, match=problem):
        tree.append(user("b"))
    assert tree.to_json() == before


def test_nothing_outside_can_change_the_tree() -> None:
    tree = MessageTree(generate_id=numbered())
    message: dict[str, Any] = {"role": "user", "content": [{"text": "a"}]}
    metadata = {"tags": ["x"]}
    tree.append(message, metadata)
    before = tree.to_json()
    message["content"][0]["text"] = metadata["tags"][0] = "changed"
    for copy in (
        look_up(tree, "n1").message,
        tree.get_active_path().messages[0],
        tree.get_siblings("n1").siblings[0].message,
    ):
        copy["content"][0]["text"] = "changed"
    look_up(tree, "n1").metadata.clear()
    tree.serialize()["nodes"].clear()
    assert tree.to_json() == before
    assert look_up(tree, "n1").message == {"role": "user", "content": [{"text": "a"}]}
    with pytest.raises(AttributeError):
        look_up(tree, "n1").message = {}  # type: ignore[misc]


def test_ids_may_be_any_text() -> None:
    ids = ['"', "\\", ',"message":', '],"metadata":', "日本", "\ud83d", "", "\n", "10", "9", "01", "__proto__", "a,b"]
    waiting = iter(ids)
    tree = MessageTree(generate_id=lambda: next(waiting))
    for number, _ in enumerate(ids):
        tree.append({"role": "user", "content": str(number)}, {"number": number})
    again = MessageTree.from_json(tree.to_json())
    assert again.to_json() == tree.to_json()
    assert again.get_active_path().node_ids == tuple(ids)
    assert [look_up(again, i).message["content"] for i in ids] == [look_up(tree, i).message["content"] for i in ids]
    assert [look_up(again, i).metadata["number"] for i in ids] == list(range(len(ids)))
    assert list(again.serialize()["nodes"])[:2] == ["9", "10"]  # as JavaScript orders an object's members


# --- restoring -------------------------------------------------------------------------------------------------------

CHAIN = [node("a", None, ("b",)), node("b", "a")]


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        pytest.param(
            saved([node("a"), node("b", "c", ("c",)), node("c", "b", ("b",))], ["a"]),
            'node "b" is part of a cycle or below one: no root leads to it',
            id="a cycle that no root leads to",
        ),
        pytest.param(
            saved([node("a", "a", ("a",))], []),
            'node "a" is part of a cycle or below one: no root leads to it',
            id="a node that is its own parent",
        ),
        pytest.param(
            saved([node("a"), node("b", "a")], ["a"]),
            'node "b" is not listed by its parent "a"',
            id="a node that its parent does not list",
        ),
        pytest.param(
            saved([*CHAIN, node("c")], ["a"]),
            'node "c" has no parent but is not one of rootIds',
            id="a root that is not listed",
        ),
        pytest.param(saved([*CHAIN], []), 'node "a" has no parent but is not one of rootIds', id="no roots"),
        pytest.param(
            saved([node("a", None, ("b", "b")), node("b", "a")], ["a"]),
            'node "a" lists child "b" twice',
            id="a child listed twice",
        ),
        pytest.param(saved(CHAIN, ["a", "a"]), 'rootIds lists "a" twice', id="a root listed twice"),
        pytest.param(
            {**saved([], []), "nodes": {"a": node("b")}, "rootIds": ["a"]}, 'node "a" has the id "b"', id="another id"
        ),
        pytest.param({**saved([], []), "nodes": {"a": 1}}, 'node "a" is not an object', id="a node that is no object"),
        *[
            pytest.param(
                {**saved([], ["a"]), "nodes": {"a": node("a", **{field: ...})}},
                f'node "a" has no {field}',
                id=f"a node without {field}",
            )
            for field in ("id", "message", "parentId", "children", "metadata", "createdAt")
        ],
        *[
            pytest.param(
                {**saved([], ["a"]), "nodes": {"a": node("a", **{field: value})}},
                f'node "a" has {field} that is not {expected}',
                id=f"{field} that is {value!r}",
            )
            for field, value, expected in [
                ("id", 1, "a string"),
                ("message", "text", "an object"),
                ("message", None, "an object"),
                ("message", ["text"], "an object"),
                ("parentId", 1, "a string or null"),
                ("parentId", False, "a string or null"),
                ("children", None, "an array of strings"),
                ("children", {"b": 1}, "an array of strings"),
                ("children", "b", "an array of strings"),
                ("children", [1], "an array of strings"),
                ("metadata", None, "an object"),
                ("createdAt", 1767225600000, "a string"),
            ]
        ],
        *[
            pytest.param(
                {name: value for name, value in saved(CHAIN, ["a"]).items() if name != missing},
                f'"{missing}" is missing',
                id=f"no {missing}",
            )
            for missing in ("version", "nodes", "rootIds", "activeLeafId")
        ],
        pytest.param({**saved([], []), "nodes": []}, '"nodes" must be an object', id="nodes that are an array"),
        pytest.param({**saved([], []), "rootIds": {}}, '"rootIds" must be an array of strings', id="rootIds an object"),
        pytest.param({**saved([], []), "rootIds": [1]}, '"rootIds" must be an array of strings', id="rootIds numbers"),
        pytest.param(
            {**saved([], []), "activeLeafId": 1}, '"activeLeafId" must be a string or null', id="active leaf 1"
        ),
        pytest.param({**saved([], []), "version": True}, "unsupported version True", id="version true"),
        pytest.param({**saved([], []), "version": "1"}, "unsupported version '1'", id="version in quotation marks"),
        pytest.param({**saved([], []), "version": None}, "unsupported version None", id="version null"),
        pytest.param({"version": 2, "nodes": "other"}, "unsupported version 2", id="version 2 with other nodes"),
    ],
)
def test_a_tree_that_is_not_whole_is_refused(tree: Any, problem: str) -> None:
    with pytest.raises(MalformedTreeError) as raised:
        MessageTree.from_json(compact_json(tree))
    assert str(raised.value) == f"MessageTree: {problem}"
    with pytest.raises(MalformedTreeError) as raised:
        MessageTree.deserialize(tree)
    assert str(raised.value) == f"MessageTree: {problem}"


GOOD = compact_json(saved([node("a")], ["a"], "a"))
GOOD_NODE = GOOD.removeprefix('{"version":1,"nodes":{').partition('},"rootIds"')[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "this is not JSON: Expecting value"),
        ("nonsense", "this is not JSON: Expecting value"),
        ("{,}", "expected a name in quotation marks at character 1"),
        ("{1:1}", "expected a name in quotation marks at character 1"),
        ('{"version" 1}', "expected a colon at character 11"),
        ('{"version":1 "nodes":{}}', "expected a comma or the end of an object at character 13"),
        ('{"version":1,}', "expected a name in quotation marks"),
        (GOOD + "}", f"expected the end of the text at character {len(GOOD)}"),
        (GOOD + GOOD, "expected the end of the text"),
        (GOOD.replace(":[],", ":[,],"), "this is not JSON: Expecting value"),
        (GOOD.replace('"a"}', "NaN}"), "this is not JSON: NaN is not JSON"),
        (GOOD.replace('"metadata":{}', '"metadata":{"x":1e999}'), "node \"a\" cannot be kept: metadata['x'] is inf"),
        (GOOD.replace('"metadata":{}', '"metadata":{"x":' + "9" * 5000 + "}"), "this is not JSON: Exceeds the limit"),
        (GOOD.replace('"metadata":{}', '"metadata":{"x":' + "[" * 99999 + "]" * 99999 + "}"), "nested too deeply"),
        (GOOD.replace('"content":"a"', '"content":"\n"'), "this is not JSON: Invalid control character"),
        (GOOD.replace('"content":"a"', '"content":"\\x"'), "this is not JSON: Invalid \\escape"),
        (GOOD.replace('"version":1', '"version":1,"version":1'), '"version" is there twice'),
        (GOOD.replace(GOOD_NODE, f"{GOOD_NODE},{GOOD_NODE}"), 'node "a" is there twice'),
        (GOOD.replace(GOOD_NODE, f"{GOOD_NODE}, {GOOD_NODE}"), 'node "a" is there twice'),
        (GOOD.encode(), "a saved tree is a str, not bytes"),
    ],
)
def test_a_text_that_is_not_a_tree_is_refused(text: str, problem: str) -> None:
    with pytest.raises(MalformedTreeError) as raised:
        MessageTree.from_json(text)
    assert str(raised.value).startswith("MessageTree: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_tree_that_was_cut_off_is_refused(cut: Any) -> None:
    with pytest.raises(MalformedTreeError):
        MessageTree.from_json(GOOD[:cut])


def test_a_dict_that_is_not_json_is_refused() -> None:
    with pytest.raises(MalformedTreeError, match=r"tree\['nodes'\] is a set"):
        MessageTree.deserialize({"version": 1, "nodes": {1}})


def test_a_parent_may_come_after_its_children() -> None:
    nodes = [node("b", "a"), node("a", None, ("c", "b")), node("c", "a")]
    tree = MessageTree.deserialize(saved(nodes, ["a"], "b"))
    assert [leaf.id for leaf in tree.get_leaves()] == ["c", "b"]


def test_any_node_may_be_active() -> None:
    tree = MessageTree.deserialize(saved(CHAIN, ["a"], "a"))
    assert tree.active_leaf_id == "a"
    assert look_up(tree, tree.append(user("c"))).parent_id == "a"
    assert look_up(tree, "a").children[0] == "b"


STRANGE = {
    "spaces": lambda text: "\r\n" + json.dumps(json.loads(text), indent="\t", separators=(" , ", " : ")) + " ",
    "escapes": lambda text: text.replace("é", "\\u00e9").replace("/", "\\/").replace("👋", "\\ud83d\\udc4b"),
    "upper case escapes": lambda text: text.replace("\\u001f", "\\u001F").replace("\\ud83d", "\\uD83D"),
    "long escapes": lambda text: text.replace("\\n", "\\u000a").replace("\\t", "\\u0009"),
    "numbers": lambda text: text.replace("150", "1.5e2").replace('"zero":0', '"zero":-0.0'),
    "repeated keys": lambda text: text.replace('{"role"', '{"role":"?","role"').replace('{"x"', '{"x":"?","x"'),
    "indices late": lambda text: text.replace('"7":0,"zero":0', '"zero":0,"7":0'),
    "raw half": lambda text: text.replace("\\ud83d", "\ud83d"),
    "other order": lambda text: re.sub(
        r'"metadata":(\{[^}]*\}),"createdAt":("[^"]*")', r'"createdAt":\2,"metadata":\1', text
    ),
    "active leaf first": lambda text: '{"activeLeafId":"n3",' + text[1:].replace(',"activeLeafId":"n3"', ""),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE.keys())
def test_however_a_tree_was_printed_it_is_saved_as_javascript_prints_it(change: Any) -> None:
    tree = MessageTree(generate_id=numbered())
    tree.append(user("é / 👋 \n\t\x1f"), {"x": "é / \x1f"})
    tree.append(user("\ud83d alone"), {"7": 0, "zero": 0, "n": 150})
    tree.append({"role": "tool", "content": None, "parts": [{"x": "é"}]}, {"\x1f": "\ud83d", "x": "👋"})
    text = tree.to_json()
    strange = change(text)
    assert strange != text
    again = MessageTree.from_json(strange)
    assert again.to_json() == text
    assert again.get_active_path() == tree.get_active_path()


USAGE = {"inputTokens": 0, "outputTokens": 123456}


@pytest.mark.parametrize(
    ("metadata", "is_known"),
    [
        ({}, True),
        ({"any": "string"}, True),
        ({"streamId": "é\n"}, True),
        ({"streamId": "x", "finish": "stopped", "finishReason": "stop", "usage": USAGE}, True),
        ({"streamId": "x", "finishReason": "stop", "usage": USAGE}, True),
        ({"streamId": "x", "usage": USAGE}, True),
        ({"streamId": "x", "usage": {**USAGE, "outputTokens": -1}}, False),
        ({"streamId": "x", "usage": {**USAGE, "outputTokens": 2**60}}, False),
        ({"usage": USAGE, "streamId": "x"}, False),
        ({"1": "a", "0": "b"}, False),
    ],
)
def test_what_a_turn_keeps_is_read_without_decoding_it(
    metadata: dict[str, Any], is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def decode(key: str, data: Any) -> Entry:
        decoded.append(key)
        return entry_from_data(key, data)

    tree = MessageTree()
    node_id = tree.append(user("Hello"), metadata)
    monkeypatch.setattr(reader, "entry_from_data", decode)
    again = MessageTree.from_json(tree.to_json())
    assert again.to_json() == tree.to_json()
    assert look_up(again, node_id).metadata == metadata
    assert decoded == ([] if is_known else [node_id])


@pytest.mark.parametrize("count", ["01", "1.", "1.0", "1e2", "+1"])
def test_counts_in_another_form_are_written_as_ours_or_refused(count: str) -> None:
    text = compact_json(saved([node("a", metadata={"streamId": "x", "usage": USAGE})], ["a"], "a"))
    strange = text.replace("123456", count)
    try:
        again = MessageTree.from_json(strange)
    except MalformedTreeError:
        assert count in ("01", "1.", "+1")
    else:
        assert again.to_json() == text.replace("123456", str(int(float(count))))


def test_fields_that_are_unknown_here_are_kept() -> None:
    later = {**saved([node("a", None, ("b",), rating=[5], by="me"), node("b", "a")], ["a"], "b"), "title": "é", "x": 1}
    tree = MessageTree.from_json(compact_json(later))
    assert tree.to_json() == compact_json(later)
    tree.append(user("c"))
    assert tree.serialize()["nodes"]["a"]["rating"] == [5]
    assert tree.serialize()["title"] == "é"
    assert look_up(tree, "a").message == {"role": "user", "content": "a"}
    again = MessageTree.from_json(tree.to_json())
    assert again.to_json() == tree.to_json()
    with pytest.raises(MalformedTreeError, match="rating is inf"):
        MessageTree.from_json(compact_json(later).replace("[5]", "1e999"))
    with pytest.raises(MalformedTreeError, match="title is inf"):
        MessageTree.from_json(compact_json(later).replace('"é"', "1e999"))


def test_a_restored_tree_goes_on_with_the_ids_it_is_given() -> None:
    tree = MessageTree.from_json(GOOD, generate_id=numbered("later"))
    assert tree.append(user("b")) == "later1"
    assert MessageTree.deserialize(tree.serialize(), generate_id=numbered("x")).append(user("c")) == "x1"


def test_a_child_may_be_given_an_id() -> None:
    tree = MessageTree()
    root = tree.append({"role": "user", "content": "a"})
    assert tree.add_child(root, {"role": "assistant", "content": "b"}, node_id="mine") == "mine"
    before = tree.to_json()
    with pytest.raises(HistoryError, match='"mine" exists: give another id'):
        tree.add_child(root, {"role": "assistant", "content": "c"}, node_id="mine")
    assert tree.to_json() == before
