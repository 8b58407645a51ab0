"""Texts for the search: how they are compared, which pieces of them are indexed, and the passages that are shown.

Text is folded before it is compared: case, accents and compatibility forms (full-width letters, ligatures) are removed,
and punctuation separates words like a space. A term of a query matches wherever it occurs, also inside a word. An index
of words cannot find that, so the index holds the pieces of two to four characters of every word, and a query looks up
pieces of its terms. What has all of them is then compared with the terms themselves.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any
from unicodedata import category, normalize

from .._json import is_list, is_object
from .._text import join_surrogates

__all__ = ["ANYTHING", "MAX_TERMS", "MAX_TERM_CHARS", "Passage", "cut", "fold", "grams", "parse", "passage", "text_of"]

MAX_TERMS = 16
"""Terms of a query that are searched; those after them are ignored."""

MAX_TERM_CHARS = 64
"""Characters of a term that are searched."""

_MAX_QUERY_CHARS = 4_096

_MAX_GRAMS = 40_000
"""Pieces of one message. A message with more has to be compared with every query, so that no parameter is too large."""

ANYTHING = "anything"
"""Stands in the index for all pieces of a message that has too many. Longer than a piece, so it can be none."""

_MAX_TERM_GRAMS = 16

_MAX_CACHED_CHARS = 24

_PART_CHARS = 200_000
"""Characters of folded text in one row: at most 4 bytes each, and D1 keeps 2 MB in one value."""

_PASSAGE_CHARS = 100
_CHARS_BEFORE = 30

_IGNORED = re.compile("[\u0300-\u036f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Accents, and the selectors between variants of a character."""

_UNSPACED = re.compile("[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Characters of Chinese, Japanese and Korean: two of them are as rare as three letters."""


class _Folding(dict[int, str]):
    """What each character becomes, worked out when it is first met. One at a time, so that positions can be kept."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = normalize("NFC", _IGNORED.sub("", normalize("NFKD", char).casefold()))
        self[code] = found = "".join(map(_separate, folded))
        return found


def _separate(char: str) -> str:
    kind = category(char)
    if kind == "Cf":  # joiners and soft hyphens, which nobody sees
        return ""
    return " " if kind[0] in "PZ" or kind in {"Cc", "Cs"} or char == "\ufffd" else char


_folding = _Folding()


def fold(text: str) -> str:
    """Return the words of a text as they are compared, with single spaces between them."""
    return " ".join(_unify(text).translate(_folding).split())


def parse(query: str) -> list[str]:
    """Return the terms of a query, folded: what stands between spaces, without duplicates and terms within others.

    Nothing is an operator. Only the first :data:`MAX_TERMS` count, and of each :data:`MAX_TERM_CHARS` characters.
    """
    terms = dict.fromkeys(fold(word)[:MAX_TERM_CHARS].strip() for word in query[:_MAX_QUERY_CHARS].split())
    terms.pop("", None)
    first = list(terms)[:MAX_TERMS]
    return [term for term in first if not any(term in other for other in first if other != term)]


def cut(folded: str) -> list[str]:
    """Return a folded text in parts for rows, which overlap so that each term is whole in one of them."""
    return [
        folded[start : start + _PART_CHARS + MAX_TERM_CHARS] for start in range(0, max(1, len(folded)), _PART_CHARS)
    ]


def grams(parts: Iterable[str]) -> str:
    """Return the pieces of a folded text that are indexed, with spaces between them."""
    found: set[str] = set()
    for word in {word for text in parts for word in text.split(" ")}:
        found.update(_cached_pieces(word) if len(word) <= _MAX_CACHED_CHARS else _pieces(word))
    return " ".join(found) if len(found) <= _MAX_GRAMS else ANYTHING


def _pieces(word: str) -> Iterable[str]:
    found = {word[i : i + 2] for i in range(len(word) - 1)}
    if not word.isascii():
        found.update(char for char in word if not char.isascii())
    runs = [word] if word.isascii() else _UNSPACED.split(word)
    for run in runs:
        found.update(run[i : i + size] for size in (3, 4) for i in range(len(run) - size + 1))
    return found


@lru_cache(maxsize=20_000)
def _cached_pieces(word: str) -> Iterable[str]:
    # Most words of a text are the same few thousand; a tuple takes less memory than a set.
    return tuple(_pieces(word))


def grams_of_term(term: str) -> list[str]:
    """Return pieces of a term that the index has for every text with this term; none for a single ASCII character."""
    found = list(dict.fromkeys(piece for word in term.split(" ") for piece in _pieces_of_word(word)))
    if len(found) <= _MAX_TERM_GRAMS:
        return found
    last = _MAX_TERM_GRAMS - 1
    return [found[number * (len(found) - 1) // last] for number in range(_MAX_TERM_GRAMS)]


def _pieces_of_word(word: str) -> list[str]:
    """Return the longest pieces of a word: longer ones are rarer."""
    if len(word) == 1:
        return [] if word.isascii() else [word]
    if len(word) == 2:
        return [word]
    pairs = [word[i : i + 2] for i in range(len(word) - 1)]
    found = [pair for pair in pairs if _UNSPACED.search(pair)]
    for size in (4, 3):
        pieces = [word[i : i + size] for i in range(len(word) - size + 1)]
        if longer := [piece for piece in pieces if not _UNSPACED.search(piece)]:
            return found + longer
    return found


def text_of(message: Any) -> str:
    """Return the text of a message: its content, or the text parts of a list of parts, one a line."""
    if not is_object(message):
        return ""
    for name in ("content", "parts"):
        value = message.get(name)
        if isinstance(value, str):
            return value
        if is_list(value):
            texts = (part.get("text") for part in value if is_object(part) and part.get("type") in _TEXT_TYPES)
            return "\n".join(text for text in texts if isinstance(text, str))
    return ""


_TEXT_TYPES = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a text, and where terms occur in it: first position and the one past the last."""

    text: str
    matches: tuple[tuple[int, int], ...]


def passage(text: str, terms: Sequence[str]) -> Passage:
    """Return the passage around the first term in a text, of about a hundred characters, on one line."""
    text = _unify(text)
    pattern = _pattern(terms)
    start, end = next(iter(_find(pattern, text, 1)), (0, 0))
    first, last = max(0, start - _CHARS_BEFORE), max(end, start - _CHARS_BEFORE + _PASSAGE_CHARS, _PASSAGE_CHARS)
    first = _start_of_word(text, first, start)
    last = _end_of_word(text, last, end)
    shown = re.sub(r"\s", " ", text[first:last])
    shown = f"{'…' if first else ''}{shown}{'…' if last < len(text) else ''}"
    return Passage(shown, tuple(_find(pattern, shown)))


def _unify(text: str) -> str:
    """Return a text without surrogates, and with letters and their accents as single characters."""
    return text if text.isascii() else normalize("NFC", join_surrogates(text))


def _pattern(terms: Sequence[str]) -> re.Pattern[str]:
    by_length = sorted(terms, key=len, reverse=True)
    return re.compile("|".join(" +".join(map(re.escape, term.split(" "))) for term in by_length))


def _find(pattern: re.Pattern[str], text: str, limit: int = _PASSAGE_CHARS) -> list[tuple[int, int]]:
    """Return where a pattern matches in a text once that is folded, as positions in the text itself."""
    pieces = list(map(_folding.__getitem__, map(ord, text)))
    folded = "".join(pieces)
    found = [match.span() for match in islice(pattern.finditer(folded), limit)]
    if not found or (len(folded) == len(text) and "" not in pieces):
        return found
    ends = list(accumulate(map(len, pieces)))
    return [(bisect(ends, start), bisect(ends, end - 1) + 1) for start, end in found]


def _start_of_word(text: str, first: int, start: int) -> int:
    space = text.find(" ", first, start) if first else -1
    return space + 1 if 0 <= space - first < _CHARS_BEFORE // 2 else first


def _end_of_word(text: str, last: int, end: int) -> int:
    space = text.rfind(" ", max(end, last - _CHARS_BEFORE // 2), last) if last < len(text) else -1
    return space if space > 0 else last
