"""Parsing JSON that is still being written."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .._json import load_json

__all__ = ["MAX_PARTIAL_CHARS", "parse_partial"]

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


MAX_PARTIAL_CHARS = 32 * 1024
"""Characters of unfinished JSON to read at most: more of it would keep the event loop for over 50 ms."""

MAX_DEPTH = 2_000
"""Levels of brackets in brackets; the decoder of Python takes fewer, and would find that out last."""


class _Open(NamedTuple):
    """An open bracket and the one around it: a linked list, so that remembering where it stood costs nothing."""

    bracket: str
    outside: _Open | None
    depth: int


def parse_partial(text: str) -> Any:
    """Return the value of unfinished JSON, as far as it has come.

    A string or a number that is a value may be unfinished; a key or a literal counts only when it is whole. Raises
    ValueError when there is no value yet or the text cannot become JSON, and RecursionError when it is nested too deep.
    """
    stack: _Open | None = None  # the innermost open bracket
    end, open_there = 0, stack  # the last place where closing what is open there makes JSON
    is_key = False
    at = 0
    while token := _TOKEN.match(text, at):
        kind, value, at = token.lastgroup, token.group(token.lastgroup or 0), token.end()
        if kind == "cut":
            if is_key:
                break
            return load_json(text[: token.start("cut")] + value + '"' + _close(stack))
        if kind == "open":
            stack = _Open(value, stack, 1 if stack is None else stack.depth + 1)
            if stack.depth > MAX_DEPTH:
                raise RecursionError(f"the value is nested deeper than {MAX_DEPTH:,} levels")
            is_key = value == "{"
        elif kind == "close" and stack:
            stack = stack.outside
            is_key = False
        elif kind == "comma":
            is_key = stack is not None and stack.bracket == "{"
        elif kind == "colon":
            is_key = False
        if kind in {"open", "close"} or (kind in {"string", "number", "literal"} and not is_key):
            end, open_there = at, stack
    return load_json(text[:end] + _close(open_there))


def _close(stack: _Open | None) -> str:
    closers: list[str] = []
    while stack is not None:
        closers.append(_CLOSERS[stack.bracket])
        stack = stack.outside
    return "".join(closers)
