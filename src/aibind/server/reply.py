"""What an endpoint answers: an HTTP answer without an HTTP library."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Reply", "error_reply", "json_reply", "text_reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Is an answer: its status, its headers and its body, whole or as it is produced.

    Whoever sends a body that is an iterator closes it (``aclose()``) when the client has gone.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | AsyncGenerator[bytes] = b""


def json_reply(value: Any, status: int = 200) -> Reply:
    """Answer with JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Reply(status, {"Content-Type": "application/json"}, text.encode("utf-8", "replace"))


def error_reply(message: str, status: int) -> Reply:
    """Answer that a request failed."""
    return json_reply({"error": message}, status)


def text_reply(text: str, status: int = 200, *, content_type: str = "text/plain") -> Reply:
    """Answer with plain text."""
    return Reply(status, {"Content-Type": content_type}, text.encode("utf-8", "replace"))
