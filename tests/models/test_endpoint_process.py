"""The loopback endpoint as a process of its own, as the end-to-end tests use it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from aibind.models import OpenAIModel, TextDelta
from tests.support.endpoint import texts

from .helpers import HELLO, collect, text_of

pytestmark = pytest.mark.processes


async def test_a_recording_is_served_and_a_disconnect_is_reported(tmp_path: Path) -> None:
    recording = tmp_path / "two-words.jsonl"
    recording.write_text("\n".join(texts("Hello", " world")), encoding="utf-8")  # no line end at the end, as recorded
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.endpoint", "--recording", str(tmp_path), "--delay-ms", "5",
        cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert process.stdout is not None
            url = json.loads(await process.stdout.readline())["url"]
            async with OpenAIModel("two-words", base_url=url) as model:
                assert text_of(await collect(model)) == "Hello world"
                events = model.stream(HELLO)
                assert await anext(events) == TextDelta("Hello")
                await events.aclose()
            told = [json.loads(await process.stdout.readline()) for _ in range(4)]
            assert [line["event"] for line in told] == ["request", "finished", "request", "disconnected"]
            assert told[0]["body"]["model"] == "two-words"
    finally:
        process.kill()
        await process.wait()
