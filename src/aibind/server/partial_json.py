"""Reads JSON that is still being written."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["parse_partial"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<cut>"(?:[^"\\]|\\[^u]|\\u[0-9a-fA-F]{4})*)  # a string that has not ended, up to its last whole character
    | (?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<literal>true|false|null)
    | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<comma>,) | (?P<colon>:)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CLOSERS = {"{": "}", "[": "]"}


def parse_partial(text: str) -> Any:
    """Tell what unfinished JSON says so far.

    A string that is a value counts as far as it has come, and so does a number; a key or a literal only when it is
    whole. Raises ValueError when the text says nothing yet or cannot become JSON.
    """
    stack: list[str] = []  # open brackets
    end, open_there = 0, ""  # the last place where closing what is open there makes JSON
    is_key = False
    at = 0
    while token := _TOKEN.match(text, at):
        kind, value, at = token.lastgroup, token.group(token.lastgroup or 0), token.end()
        if kind == "cut":
            if is_key:
                break
            return json.loads(text[: token.start("cut")] + value + '"' + _close("".join(stack)))
        if kind == "open":
            stack.append(value)
            is_key = value == "{"
        elif kind == "close" and stack:
            stack.pop()
            is_key = False
        elif kind == "comma":
            is_key = stack[-1:] == ["{"]
        elif kind == "colon":
            is_key = False
        if kind in {"open", "close"} or (kind in {"string", "number", "literal"} and not is_key):
            end, open_there = at, "".join(stack)
    return json.loads(text[:end] + _close(open_there))


def _close(brackets: str) -> str:
    return "".join(_CLOSERS[bracket] for bracket in reversed(brackets))
