"""The content of messages: text, or a list of parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._json import is_list, is_object

__all__ = ["texts_of"]


def texts_of(content: Any) -> Iterator[str]:
    """Yield the texts of a message's content; parts that are files have none."""
    if isinstance(content, str):
        yield content
    for part in content if is_list(content) else ():
        if is_object(part) and isinstance(text := part.get("text"), str):
            yield text
