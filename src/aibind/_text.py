"""Surrogates: the halves of characters that JSON and JavaScript can hold, and UTF-8 cannot."""

from __future__ import annotations

import re

__all__ = ["SurrogateJoiner", "join_surrogates"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def join_surrogates(text: str) -> str:
    """Join surrogate pairs into characters, and replace each lone surrogate by U+FFFD."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    """Joins surrogate pairs in a text that comes in pieces, also those that were cut between two pieces."""

    def __init__(self) -> None:
        self.held = ""  # the first half of a pair, at the end of the last piece; a plain attribute as it is hot

    def join(self, piece: str) -> str:
        """Return a piece with pairs joined and lone surrogates replaced; a first half at its end is held back."""
        text = self.held + piece
        self.held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.held, text = text[-1], text[:-1]
        return join_surrogates(text)

    def flush(self) -> str:
        """Return U+FFFD for a first half that is still held back, else an empty text."""
        rest, self.held = self.held, ""
        return join_surrogates(rest)
