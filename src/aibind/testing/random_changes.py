"""Random changes of a conversation, the same for a chat in memory and for one that a store loaded in part."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..history import ChatHistory

if TYPE_CHECKING:
    from random import Random

__all__ = ["change", "change_part", "ids_of", "odd_ids", "say", "shape_of"]

_TEXTS = ("word", "nul \0", "half \ud83d", 'a "quote"', "\u2028 \\ ü 👋", "long " * 300)
_ODD_IDS = ("7", "12", "3", "nul\0", "half \ud83d", 'quote"', "back\\slash", "line\nbreak", "ü 👋", "", "%", "a" * 300)


def odd_ids(random: Random) -> Callable[[], str]:
    """Return a source of ids, the first of which are hard to store."""
    odd = iter(random.sample(_ODD_IDS, len(_ODD_IDS)))
    return lambda: next(odd, None) or f"id {random.random()}"


def say(text: str) -> dict[str, str]:
    """Return a user's message."""
    return {"role": "user", "content": text}


def ids_of(chat: ChatHistory) -> list[str]:
    """Return the ids of all messages, in the tree's order."""
    return list(json.loads(chat.to_json())["nodes"])


def shape_of(chat: ChatHistory) -> str:
    """Return a chat's JSON without times, and with numbers for ids: equal for two chats that were changed alike."""
    data = json.loads(chat.to_json())
    numbers = {node_id: number for number, node_id in enumerate(data["nodes"])}
    nodes = [
        [
            node["message"],
            numbers.get(node["parentId"]),
            [numbers[child] for child in node["children"]],
            {name: value for name, value in node["metadata"].items() if name != "compactedAt"},
        ]
        for node in data["nodes"].values()
    ]
    return json.dumps([nodes, [numbers[root] for root in data["rootIds"]], numbers.get(data["activeLeafId"])])


def change(chat: ChatHistory, random: Random) -> None:
    """Change a chat as a program may."""
    ids = ids_of(chat)
    text = random.choice(_TEXTS)
    operation = random.choice(
        ["append"] * 4 + ["edit", "root", "child", "select", "step", "remove", "merge", "compact", "clear"]
    )
    if operation == "append" or not ids:
        chat.append(say(text), {"n": random.random()})
        return
    node_id = random.choice(ids)
    match operation:
        case "edit":
            chat.edit(node_id, say(text))
        case "root":
            chat.tree.add_root(say(text))
        case "child":
            chat.tree.add_child(node_id, say(text))
        case "select":
            chat.tree.set_active_leaf(node_id)
        case "step":
            chat.next_alternative(node_id) if random.random() < 0.5 else chat.prev_alternative(node_id)
        case "remove" if random.random() < 0.5:
            chat.tree.remove(node_id)
        case "merge":
            other = ChatHistory.from_json(chat.to_json())
            other.edit(node_id, say(text))
            other.append(say("below"))
            chat.merge(other)
        case "compact" if random.random() < 0.3:
            chat.compact(say(text))
        case "clear" if random.random() < 0.2:
            chat.tree.clear()
        case _:
            pass


def change_part(chat: ChatHistory, loaded: Sequence[str], seed: int) -> None:
    """Change a chat by what its ``loaded`` messages allow: the same ``seed`` changes two chats alike."""
    from random import Random  # Workers refuse random numbers while modules are loaded

    random = Random(seed)
    operation = random.choice(["append", "append", "edit", "child", "select", "compact"])
    text = say(f"{operation} {random.choice(_TEXTS)}")
    if operation == "append" or not loaded:
        chat.append(text, {"seed": seed})
        return
    node_id = random.choice(loaded)
    match operation:
        case "edit":
            chat.edit(node_id, text)
        case "child":
            chat.tree.add_child(node_id, text)
        case "select":
            chat.tree.set_active_leaf(node_id)
        case "compact" if random.random() < 0.4:
            chat.compact(text)
        case _:
            pass
