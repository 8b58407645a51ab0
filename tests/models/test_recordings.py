"""Recorded replies, served over a real socket at their own boundaries and at unkind ones."""

from __future__ import annotations

import pytest

from aibind.errors import ModelError
from aibind.models import ReasoningDelta, TextDelta
from tests.support.endpoint import Endpoint, Reply, every
from tests.support.recordings import CHAT_RECORDINGS, RESPONSES_RECORDINGS, join_recording, read_recording

from .helpers import calls_of, collect, collect_until_error, model_at, reasoning_of, text_of, usage_of


@pytest.mark.parametrize("size", [None, 1, 13, 4096])
@pytest.mark.parametrize("name", CHAT_RECORDINGS)
async def test_a_recorded_reply_arrives_whole(name: str, size: int | None) -> None:
    lines = read_recording(name)
    if size == 1 and sum(map(len, lines)) > 60_000:  # every byte for itself takes its time
        lines = [*lines[:40], *lines[-10:]]
    expected = join_recording(lines)
    async with Endpoint(Reply(lines, split=every(size) if size else None)) as endpoint, model_at(endpoint) as model:
        events = await collect(model)
    assert text_of(events) == expected.text
    assert reasoning_of(events) == expected.reasoning
    assert [(call.id, call.name, call.arguments) for call in calls_of(events)] == expected.calls
    usage = usage_of(events)
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == expected.usage
    assert events[-1] is usage
    assert all(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))


@pytest.mark.parametrize("name", CHAT_RECORDINGS)
async def test_a_recorded_reply_comes_at_its_own_boundaries(name: str) -> None:
    lines = read_recording(name)
    async with Endpoint(Reply(lines, newline="\r\n")) as endpoint, model_at(endpoint) as model:
        events = await collect(model)
    pieces = [
        (kind, text)
        for joined in map(join_recording, ([line] for line in lines))
        for kind, text in ((ReasoningDelta, joined.reasoning), (TextDelta, joined.text))
        if text
    ]
    assert [(type(event), event.text) for event in events if isinstance(event, TextDelta | ReasoningDelta)] == pieces


@pytest.mark.parametrize("name", CHAT_RECORDINGS)
async def test_a_recorded_reply_that_is_cut_says_so(name: str) -> None:
    lines = read_recording(name)
    half = len(lines) // 2
    expected = join_recording(lines[:half])
    async with Endpoint(Reply(lines, cut_after=half)) as endpoint, model_at(endpoint) as model:
        events, error = await collect_until_error(model)
    assert (text_of(events), reasoning_of(events)) == (expected.text, expected.reasoning)
    assert isinstance(error, ModelError)
    assert error.code == "cut_off"


@pytest.mark.parametrize("name", RESPONSES_RECORDINGS)
async def test_a_reply_in_the_responses_format_is_told_apart(name: str) -> None:
    async with Endpoint(Reply(read_recording(name), done=False)) as endpoint, model_at(endpoint) as model:
        events, error = await collect_until_error(model)
    assert events == []
    assert isinstance(error, ModelError)
    assert error.code == "responses_format"
    assert "chat completions" in str(error)
