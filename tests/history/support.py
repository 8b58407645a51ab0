"""What the tests of histories share."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aibind.history import MessageTree, TreeNode

FIXTURES = Path(__file__).parent.parent / "fixtures"
_TIME = re.compile(r'"(createdAt|compactedAt)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"')


def recorded(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((FIXTURES / name).read_text("utf-8"))
    return cases


def numbered(prefix: str = "n") -> Callable[[], str]:
    """Make ids n1, n2, …, as the recordings do."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


def timeless(text: str) -> str:
    """Blot out when each node was made. Anything but a JavaScript time stays as it is."""
    return _TIME.sub(r'"\1":"…"', text)


def look_up(tree: MessageTree, node_id: str) -> TreeNode:
    """Return a node that must be there."""
    found = tree.get(node_id)
    assert found is not None, f"There is no node {node_id}"
    return found


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def node(node_id: str, parent_id: str | None = None, below: tuple[str, ...] = (), /, **changes: Any) -> dict[str, Any]:
    """Make a saved node; ``changes`` are other values for its fields, ``...`` leaves a field out."""
    fields = {
        "id": node_id,
        "message": {"role": "user", "content": node_id},
        "parentId": parent_id,
        "children": list(below),
        "metadata": {},
        "createdAt": "2026-01-01T00:00:00.000Z",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def saved(nodes: list[dict[str, Any]], root_ids: list[str], active: str | None = None) -> dict[str, Any]:
    return {"version": 1, "nodes": {n["id"]: n for n in nodes}, "rootIds": root_ids, "activeLeafId": active}


def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
