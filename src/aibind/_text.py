"""Halves of characters: surrogates, which JSON and JavaScript can hold, and UTF-8 cannot."""

from __future__ import annotations

import re

__all__ = ["join_surrogates"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def join_surrogates(text: str) -> str:
    """Join surrogate pairs into characters, and replace each lone surrogate by U+FFFD."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
