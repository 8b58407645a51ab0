"""Going on with an answer: what is skipped of a repetition, and the offline model, which goes on from any character."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from aibind.errors import ModelError
from aibind.models import (
    CustomEvent,
    EchoModel,
    Finish,
    MessageData,
    ModelEvent,
    ModelRequest,
    OpenAIModel,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    can_resume,
    skip_repeated,
)

from .helpers import HELLO, ask, collect_all, collect_until_error, joined, read_until_error


def cuts(events: Sequence[ModelEvent], step: int = 1) -> Iterator[tuple[list[ModelEvent], list[ModelEvent]]]:
    """Cut an answer after each event, and after each ``step`` characters of its text."""
    events = joined(events)
    yield [], events
    for place, event in enumerate(events):
        if isinstance(event, TextDelta | ReasoningDelta):
            kind = type(event)
            for offset in range(1, len(event.text), step):
                before, after = kind(event.text[:offset]), kind(event.text[offset:])
                yield [*events[:place], before], [after, *events[place + 1 :]]
        yield events[: place + 1], events[place + 1 :]


async def replay(*events: ModelEvent | str) -> AsyncIterator[ModelEvent | str]:
    for event in events:
        yield event


async def rest_of(events: AsyncIterator[ModelEvent | str], so_far: Sequence[ModelEvent]) -> list[ModelEvent]:
    return joined([event async for event in skip_repeated(events, so_far)])


# --- what is skipped -------------------------------------------------------------------------------------------------


ANSWER = (
    ReplyReference("r"),
    ReasoningDelta("Hm, "),
    ReasoningDelta("so."),
    CustomEvent("progress", {"percent": 1}),
    TextDelta("Let me"),
    TextDelta(" see."),
    ToolCallDelta("c", "f", '{"a"'),
    ToolCall("c", "f", '{"a": 1, "b": [2]}'),
    ToolResult("c", "f", '{"is": "it"}'),
    TextDelta("It is."),
    MessageData("signature", "x"),
    Finish("length"),
    Usage(1, 2),
)


async def test_every_cut_of_an_answer_gives_its_rest() -> None:
    said = [event for event in ANSWER if not isinstance(event, ReplyReference)]
    for so_far, rest in cuts(said):
        assert await rest_of(replay(*ANSWER), so_far) == [ReplyReference("r"), *rest]


async def test_json_is_compared_as_values() -> None:
    stored: list[ModelEvent] = [ToolCall("c", "f", '{"a":1,"b":[2]}'), ToolResult("c", "f", '{"is":"it"}')]
    again = replay(ToolCall("c", "f", '{ "a": 1, "b": [2] }'), ToolResult("c", "f", '{"is": "it"}'))
    assert await rest_of(again, stored) == []
    assert await rest_of(replay(ToolCall("c", "f", ""), "more"), [ToolCall("c", "f", "{}")]) == [TextDelta("more")]


async def test_events_beside_the_text_are_dropped_wherever_they_are_repeated() -> None:
    event, other = CustomEvent("citation", {"url": "u"}), CustomEvent("citation", {"url": "v"})
    stored: list[ModelEvent] = [TextDelta("ab"), event, TextDelta("c")]
    assert await rest_of(replay("abcd", event, other), stored) == [TextDelta("d"), other]


@pytest.mark.parametrize(
    ("pieces", "so_far", "rest"),
    [
        (("a\r\n", "b"), "a\n", "b"),
        (("a\r", "\nb"), "a\n", "b"),
        (("a\r", "\nb"), "a", "\nb"),
        (("\ud83e", "\udeb6!"), "🪶", "!"),
        (("\ud83e", "\udeb6!"), "", "🪶!"),
        (("a\ud83e", "b"), "a\ufffdb", ""),
        (("a", "\ud83e"), "a", "\ufffd"),
        (("🪶🪶",), "🪶", "🪶"),
    ],
)
async def test_text_is_counted_as_readers_have_it(pieces: Sequence[str], so_far: str, rest: str) -> None:
    stored = [TextDelta(so_far)] if so_far else []
    found = await rest_of(replay(*pieces), stored)
    assert found == ([TextDelta(rest)] if rest else [])


@pytest.mark.parametrize(
    ("again", "so_far"),
    [
        (["Hallo"], [TextDelta("Hello")]),
        (["Hell"], [TextDelta("Hello")]),
        ([], [TextDelta("Hello")]),
        ([ReasoningDelta("Hello")], [TextDelta("Hello")]),
        (["Hello there"], [TextDelta("Hello"), ReasoningDelta("Hm")]),
        ([ToolCall("1", "f", "{}")], [ToolCall("2", "f", "{}")]),
        ([ToolCall("1", "f", '{"a":1}')], [ToolCall("1", "f", '{"a":2}')]),
        (["Hello", Finish("stop")], [TextDelta("Hello there")]),
        ([Finish("stop")], [Finish("length")]),
    ],
)
async def test_another_answer_is_refused(again: list[Any], so_far: list[ModelEvent]) -> None:
    with pytest.raises(ModelError, match="The reply cannot be continued") as raised:
        await rest_of(replay(*again), so_far)
    assert raised.value.code == "not_resumable"


async def test_a_reason_that_is_not_stored_is_passed_over() -> None:
    assert await rest_of(replay("a", Finish("stop"), Usage(1, 2)), [TextDelta("a"), Usage(1, 2)]) == []


async def test_the_answer_is_closed() -> None:
    closed = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
        finally:
            closed.append(True)

    events = skip_repeated(endless(), [TextDelta("aa")])
    assert await anext(events) == TextDelta("a")
    await events.aclose()
    assert closed


def test_which_models_can_resume() -> None:
    assert can_resume(EchoModel())
    assert not can_resume(OpenAIModel("m", base_url="http://127.0.0.1/v1"))
    assert not can_resume(EchoModel().stream)
    assert not can_resume(object())


# --- the offline model -----------------------------------------------------------------------------------------------

TOOLS = [{"name": "weather", "description": "", "parameters": {"type": "object", "properties": {"at": {}}}}]

REQUESTS = {
    "short": ask("/short of\r\nlines 🪶"),
    "think": ask("/think about it"),
    "tools": ask("/tools now", tools=TOOLS),
    "plain": HELLO,
    "json": ask("a person", json_schema={"type": "object", "properties": {"name": {"type": "string"}}}),
    "result": ModelRequest([{"role": "user", "content": "hi"}, {"role": "tool", "content": "a\r\nb"}]),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_offline_model_goes_on_from_any_character(name: str) -> None:
    request = REQUESTS[name]
    whole = joined(await collect_all(EchoModel(tokens_per_second=0), request))
    stored = [TextDelta(event.text.replace("\r\n", "\n")) if isinstance(event, TextDelta) else event for event in whole]
    for so_far, rest in cuts(stored, step=1 if name != "plain" else 17):
        events = EchoModel(tokens_per_second=0).resume(request, so_far, None)
        assert joined([event async for event in events]) == rest


async def test_the_offline_model_fails_where_it_would_have_failed() -> None:
    request = ask("/fail please")
    model = EchoModel(tokens_per_second=0)
    events, error = await collect_until_error(model, request)
    [text] = joined(events)
    assert isinstance(text, TextDelta)
    half = TextDelta(text.text[: len(text.text) // 2])
    rest, error_again = await read_until_error(model.resume(request, [half], None))
    assert joined([half, *rest]) == [text]
    assert isinstance(error, ModelError)
    assert isinstance(error_again, ModelError)
    assert error.code == error_again.code == "echo_failure"


async def test_the_offline_model_that_varies_goes_on_by_its_reference() -> None:
    model = EchoModel(tokens_per_second=0, vary=True)
    await collect_all(model)
    reference, *events = await collect_all(model)
    assert isinstance(reference, ReplyReference)
    other = EchoModel(tokens_per_second=0, vary=True)
    so_far = joined(events[:20])
    rest = [event async for event in other.resume(HELLO, so_far, reference.value)]
    assert joined([*so_far, *rest]) == joined(events)
    for wrong in (None, "0"):
        with pytest.raises(ModelError, match="cannot be continued"):
            [event async for event in other.resume(HELLO, so_far, wrong)]


async def test_the_offline_model_skips_without_waiting() -> None:
    request = ask("/long 2000")
    whole = joined(await collect_all(EchoModel(tokens_per_second=0), request))
    [text, finish, usage] = whole
    assert isinstance(text, TextDelta)
    model = EchoModel(tokens_per_second=4)  # at this pace the text takes ten minutes
    rest = [event async for event in model.resume(request, [TextDelta(text.text[:-3])], None)]
    assert joined(rest) == [TextDelta(text.text[-3:]), finish, usage]


async def test_the_offline_model_has_nothing_to_cancel() -> None:
    await EchoModel().cancel("0")
