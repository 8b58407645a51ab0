"""Sizes of the values of SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["bytes_of"]


def bytes_of(values: Iterable[Any]) -> int:
    """Return the size of values: a text in UTF-8, a blob as it is, a number 8 bytes, NULL nothing."""
    size = 0
    for value in values:
        if isinstance(value, str):
            size += len(value.encode("utf-8", "surrogatepass"))
        elif value is not None:
            size += len(value) if isinstance(value, bytes | bytearray | memoryview) else 8
    return size
