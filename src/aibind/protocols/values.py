"""JSON as it travels in the messages of other formats."""

from __future__ import annotations

import json
from typing import Any

from .._json import compact_json, is_list, is_object, load_json

__all__ = ["json_bytes", "value_of"]


def value_of(data: str) -> Any:
    """Return the value of an event's JSON; text that is not JSON is itself the value."""
    try:
        return load_json(data)
    except (ValueError, RecursionError):
        return data


def json_bytes(value: Any) -> bytes:
    """Return a value as compact JSON, in one line.

    Members that change the prototype of a JavaScript object are left out: clients refuse the whole stream for them.
    A lone surrogate is escaped.
    """
    text = compact_json(value)
    if '"__proto__"' in text or '"constructor"' in text:
        text = compact_json(_harmless(value))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), separators=(",", ":")).encode()


def _harmless(value: Any) -> Any:
    if is_list(value):
        return [_harmless(item) for item in value]
    if not is_object(value):
        return value
    return {name: _harmless(member) for name, member in value.items() if not _is_harmful(name, member)}


def _is_harmful(name: str, member: Any) -> bool:
    return name == "__proto__" or (name == "constructor" and is_object(member) and "prototype" in member)
