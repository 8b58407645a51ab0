"""The recorded replies of real providers. They are not part of this project: tests that need them skip without."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHAT_RECORDINGS = (
    "chat-alibaba-text",
    "chat-deepseek-reasoning",
    "chat-deepseek-text",
    "chat-deepseek-tool-call",
    "chat-groq-text",
    "chat-mistral-text",
    "chat-openai-text",
    "chat-xai-text",
    "chat-xai-tool-call",
)
RESPONSES_RECORDINGS = (
    "responses-openai-custom-tool.1",
    "responses-openai-error.1",
    "responses-openai-web-search-tool.1",
)


def recordings_dir() -> Path:
    """Return the folder of the recordings, which need not exist: AIBIND_RECORDINGS, or ../shared/recordings."""
    named = os.environ.get("AIBIND_RECORDINGS")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "recordings"


needs_recordings = pytest.mark.skipif(not recordings_dir().is_dir(), reason="recordings are not in this checkout")


def read_recording(name: str) -> list[str]:
    """Return the data of each message of a recording, exactly as recorded."""
    text = (recordings_dir() / f"{name}.jsonl").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]


@dataclass(frozen=True)
class Joined:
    """What a recording says, joined the plain way."""

    text: str
    reasoning: str
    calls: list[tuple[str, str, str]]
    usage: tuple[int, int] | None


def join_recording(lines: list[str]) -> Joined:
    """Join a chat recording without any of the code under test."""
    text = reasoning = ""
    calls: dict[int, list[str]] = {}
    usage = None
    for line in lines:
        chunk: dict[str, Any] = json.loads(line)
        if chunk.get("usage"):
            usage = (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            text += delta.get("content") or ""
            reasoning += delta.get("reasoning_content") or ""
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(piece["index"], ["", "", ""])
                call[0] += piece.get("id") or ""
                call[1] += piece["function"].get("name") or ""
                call[2] += piece["function"].get("arguments") or ""
    return Joined(text, reasoning, [(call[0], call[1], call[2]) for call in calls.values()], usage)
