"""JSON bodies of requests, parsed in slices, so that a large one does not hold up the replies of others."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import sys
import time
from collections.abc import Generator
from typing import Any, TypeAlias

from .._json import load_json, scan_json
from .._offload import uncollected
from ..errors import RequestError

__all__ = ["MAX_VALUES", "in_turns", "parse_in_steps", "parse_in_thread", "parse_json"]

PLAIN_BYTES = 64 * 1024
"""Bytes of a body that is parsed at once: this takes 20 ms at worst, and 1 ms as a rule."""

SLICE_CHARS = 16 * 1024
"""Characters that are parsed in one step."""

DECODED_BYTES = 1024 * 1024
"""Bytes that are decoded in one step."""

HELD_S = 0.005
"""Seconds after which the other tasks get their turn."""

MAX_VALUES = 200_000
"""The limit of the items in all large lists and objects of a body together."""

MAX_DEPTH = 100
"""The limit of the nesting of large lists and objects."""

SINGLES = 64
"""Items to parse one by one after a slice that could not be cut between two items."""

_FAILURES = 1000
_FAILURES_A_SLICE = 12
"""Slices that may be parsed in vain: three a large list or object, and more only in a body that is made for it."""

Steps: TypeAlias = Generator[None, None, Any]
"""Work that yields after each of its parts, and returns its result."""

_SPACE = re.compile(r"[ \t\n\r]*+")
# Characters and whole escape sequences: what ends there can be decoded by itself. Possessive: nothing to go back to.
_UNITS = re.compile(r'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_CUTS = ("},", "],", ",")


async def parse_json(body: bytes | bytearray) -> Any:
    """Return the value of a body. Raises RequestError for one that is not JSON (400), or has too many values (413)."""
    try:
        if len(body) <= PLAIN_BYTES:
            return load_json(body)
        with uncollected():
            return await in_turns(_decode_and_parse(body))
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not valid JSON") from error


async def in_turns(steps: Steps) -> Any:
    """Run steps to their end and return their result; other tasks get their turn every few milliseconds."""
    began = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            await asyncio.sleep(0)  # what is done with the result may take as long again
            return end.value
        if time.perf_counter() - began >= HELD_S:
            await asyncio.sleep(0)
            began = time.perf_counter()


def _decode_and_parse(body: bytes | bytearray) -> Steps:
    decoder = codecs.getincrementaldecoder(json.detect_encoding(body))("surrogatepass")
    pieces: list[str] = []
    for start in range(0, len(body), DECODED_BYTES):
        pieces.append(decoder.decode(body[start : start + DECODED_BYTES]))
        yield
    pieces.append(decoder.decode(b"", final=True))
    return (yield from parse_in_steps("".join(pieces)))


def parse_in_steps(text: str, *, slice_chars: int = SLICE_CHARS, max_values: int = MAX_VALUES) -> Steps:
    """Parse a JSON text, and yield after each step of about ``slice_chars`` characters.

    What fits a slice is parsed by the standard library; only lists, objects and strings that are larger are taken
    apart. Raises as :func:`load_json` does, and RequestError, with status 413, for more than ``max_values`` values.
    """
    return (yield from _Parser(text, slice_chars, max_values).parse())


def parse_in_thread(text: str) -> Any:
    """Return the value of a large JSON text, in many short calls, between which other threads get their turn."""
    steps = parse_in_steps(text, max_values=sys.maxsize)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class _Parser:
    """A text and a position in it. Each method takes what begins at the position, and moves behind it."""

    def __init__(self, text: str, slice_chars: int, max_values: int) -> None:
        self._text = text
        self._slice = slice_chars
        self._max_values = max_values
        self._values = 0
        self._failures_left = _FAILURES + _FAILURES_A_SLICE * len(text) // slice_chars
        self._at = 0

    def parse(self) -> Steps:
        """Take the whole text."""
        yield from self._space()
        value = yield from self._value(0)
        yield from self._space()
        if self._at != len(self._text):
            raise ValueError("text follows the value")
        return value

    def _value(self, depth: int) -> Steps:
        piece = self._text[self._at : self._at + self._slice]
        is_cut = self._at + self._slice < len(self._text)
        try:
            value, length = scan_json(piece, 0)
        except (StopIteration, ValueError, RecursionError) as error:
            if not is_cut or piece[0] not in '"[{':
                raise ValueError("not a value") from error
        else:
            if is_cut and length == len(piece) and piece[0] not in '"[{':
                raise ValueError("a number is too long")
            self._at += length
            return value
        if piece[0] == '"':
            return (yield from self._string())
        self._fail()
        yield
        if depth == MAX_DEPTH:
            raise RecursionError
        return (yield from (self._list(depth + 1) if piece[0] == "[" else self._object(depth + 1)))

    def _list(self, depth: int) -> Steps:
        items: list[Any] = []
        singles = 0
        self._at += 1
        yield from self._space()
        if self._take("]"):
            return items
        while True:
            many, is_end = self._many("[", "]") if singles == 0 else (None, False)
            if many is not None:
                items += many
                if is_end:
                    return items
                yield from self._space()
                continue
            singles = (singles or SINGLES) - 1
            items.append((yield from self._value(depth)))
            if not (yield from self._goes_on("]")):
                return items

    def _object(self, depth: int) -> Steps:
        items: dict[str, Any] = {}
        singles = 0
        self._at += 1
        yield from self._space()
        if self._take("}"):
            return items
        while True:
            many, is_end = self._many("{", "}") if singles == 0 else (None, False)
            if many is not None:
                items.update(many)
                if is_end:
                    return items
                yield from self._space()
                continue
            singles = (singles or SINGLES) - 1
            key = yield from self._string()
            yield from self._space()
            if not self._take(":"):
                raise ValueError("a colon is missing")
            yield from self._space()
            items[key] = yield from self._value(depth)
            if not (yield from self._goes_on("}")):
                return items

    def _many(self, opening: str, closing: str) -> tuple[Any, bool]:
        """Take the items that end in this slice, and the comma behind them or the end of the list or object.

        Return the items, None when the slice cannot be cut between two, and whether it was the end.
        """
        piece = self._text[self._at : self._at + self._slice]
        for mark in _CUTS:
            cut = piece.rfind(mark) + len(mark)
            if cut < len(mark):
                continue
            inner = opening + piece[: cut - 1] + closing
            try:
                items, length = scan_json(inner, 0)
            except (StopIteration, ValueError, RecursionError):
                items, length = None, 0
            if items:
                is_end = length < len(inner)
                self._at += length - 1 if is_end else cut
                self._count(len(items))
                return items, is_end
            self._fail()
        return None, False

    def _string(self) -> Steps:
        if not self._take('"'):
            raise ValueError("a string is missing")
        pieces: list[str] = []
        while True:
            units = _UNITS.match(self._text, self._at, self._at + self._slice)
            end = units.end() if units is not None else self._at
            piece: str = scan_json(f'"{self._text[self._at : end]}"', 0)[0]
            if pieces and piece and self._cuts_a_character(pieces[-1][-1], piece[0]):
                pieces[-1], piece = pieces[-1][:-1], _join(pieces[-1][-1], piece[0]) + piece[1:]
            is_stuck = end == self._at
            self._at = end
            if piece:
                pieces.append(piece)
            if self._take('"'):
                return "".join(pieces)
            if is_stuck:
                raise ValueError("a string does not end, or holds what it may not")
            yield

    def _cuts_a_character(self, before: str, after: str) -> bool:
        """Return whether the position is between the two halves of a character, each an escape sequence."""
        is_pair = "\ud800" <= before < "\udc00" <= after < "\ue000"
        return is_pair and self._text[self._at - 1] != before and self._text[self._at] == "\\"

    def _goes_on(self, closing: str) -> Steps:
        """Take what follows an item: a comma, and return True, or the end of the list or object."""
        self._count(1)
        yield from self._space()
        if self._take(","):
            yield from self._space()
            return True
        if not self._take(closing):
            raise ValueError("a comma is missing")
        return False

    def _space(self) -> Steps:
        while True:
            space = _SPACE.match(self._text, self._at, self._at + self._slice)
            start, self._at = self._at, space.end() if space is not None else self._at
            yield
            if self._at < start + self._slice:
                return

    def _take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += 1
        return True

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > self._max_values:
            raise RequestError(f"The body has more than {self._max_values:,} values, which is this server's limit", 413)

    def _fail(self) -> None:
        self._failures_left -= 1
        if self._failures_left < 0:
            raise RequestError("The body has too many large lists and objects within each other", 413)


def _join(high: str, low: str) -> str:
    return (high + low).encode("utf-16", "surrogatepass").decode("utf-16")
