"""The protocol of a model, as mypy reads it here: what a model may yield."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from aibind.models import EchoModel, Model, ModelEvent, ModelRequest, OpenAIModel, TextDelta, Usage

from .helpers import HELLO


class Strings:
    async def stream(self, request: ModelRequest) -> AsyncIterator[str]:
        yield f"{len(request.messages)} message"


class Events:
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        yield TextDelta("text")


class Both:
    async def stream(self, request: ModelRequest) -> AsyncIterator[TextDelta | Usage | str]:
        yield "text"
        yield Usage(1, 1)


OURS: tuple[type[Model], ...] = (EchoModel, OpenAIModel)


@pytest.mark.parametrize(
    ("model", "expected"),
    [(Strings(), ["1 message"]), (Events(), [TextDelta("text")]), (Both(), ["text", Usage(1, 1)])],
)
async def test_a_model_may_yield_events_and_strings(model: Model, expected: list[object]) -> None:
    assert [event async for event in model.stream(HELLO)] == expected
