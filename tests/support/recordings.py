"""Recorded replies: this project's, and those of real providers where they are at hand.

The second are not part of this project; without them, each test that would run on them is one skip.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .write_recordings import FOLDER, RECORDINGS


def outside_folder() -> Path:
    """Return the folder of the providers' replies, which need not exist: AIBIND_RECORDINGS, or ../shared/recordings."""
    named = os.environ.get("AIBIND_RECORDINGS")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "recordings"


def _cases(kind: str) -> list[Any]:
    ours = [name for name in RECORDINGS if name.startswith(kind)]
    folder = outside_folder()
    if folder.is_dir():
        return ours + sorted(path.stem for path in folder.glob(f"{kind}*.jsonl"))
    reason = "replies of real providers are not in this checkout"
    return [*ours, pytest.param("of-providers", marks=pytest.mark.skip(reason=reason))]


CHAT_RECORDINGS = _cases("chat-")
RESPONSES_RECORDINGS = _cases("responses-")


def read_recording(name: str) -> list[str]:
    """Return the data of each message of a recording, exactly as recorded."""
    folder = FOLDER if name in RECORDINGS else outside_folder()
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]


@dataclass(frozen=True)
class Joined:
    """The contents of a recording, joined the plain way."""

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
