"""Asking a model, and what is found in its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aibind.models import Finish, Model, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall, Usage
from aibind.models.openai import OpenAIModel
from tests.support.endpoint import Endpoint

HELLO = ModelRequest([{"role": "user", "content": "hello"}])


def ask(text: str, **fields: Any) -> ModelRequest:
    return ModelRequest([{"role": "user", "content": text}], **fields)


def model_at(endpoint: Endpoint, **options: Any) -> OpenAIModel:
    """Make a model whose waits are short enough for a test."""
    return OpenAIModel("some-model", base_url=endpoint.base_url, **{"timeout_s": 60, "backoff_s": 0.01, **options})


async def collect(model: Model, request: ModelRequest = HELLO) -> list[ModelEvent]:
    """Collect the events of a model of ours but for its reason to stop: see :func:`collect_all`."""
    return [event for event in await collect_all(model, request) if not isinstance(event, Finish)]


async def collect_all(model: Model, request: ModelRequest = HELLO) -> list[ModelEvent]:
    """Collect the events of a model of ours, which yields no plain strings."""
    return [the_event(event) async for event in model.stream(request)]


def the_event(event: ModelEvent | str) -> ModelEvent:
    assert not isinstance(event, str)
    return event


async def collect_until_error(model: Model, request: ModelRequest = HELLO) -> tuple[list[ModelEvent], Exception]:
    """Collect the events before an error, and the error."""
    return await read_until_error(model.stream(request))


async def read_until_error(answer: AsyncIterator[ModelEvent | str]) -> tuple[list[ModelEvent], Exception]:
    """Collect the events of an answer before an error, and the error."""
    events: list[ModelEvent] = []
    try:
        async for event in answer:
            events.append(the_event(event))  # noqa: PERF401 - what came before the error is wanted too
    except Exception as error:
        return events, error
    raise AssertionError(f"no error after {events}")


def joined(events: Sequence[ModelEvent]) -> list[ModelEvent]:
    """Join neighbouring text, as it is stored."""
    found: list[ModelEvent] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, TextDelta | ReasoningDelta) and type(last) is type(event):
            assert isinstance(last, TextDelta | ReasoningDelta)
            found[-1] = type(event)(last.text + event.text)
        else:
            found.append(event)
    return found


def text_of(events: Iterable[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: Iterable[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls_of(events: Iterable[ModelEvent]) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def usage_of(events: Iterable[ModelEvent]) -> Usage | None:
    found = [event for event in events if isinstance(event, Usage)]
    assert len(found) <= 1
    return found[0] if found else None
