"""WorkersAIModel against a stand-in: workerd has no Workers AI of its own. It answers with real JavaScript streams."""

from __future__ import annotations

import json
from typing import Any

from aibind.cloudflare import WorkersAIModel
from aibind.errors import ModelError
from aibind.models import ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from aibind.testing.checks import gather_items, raises

from .bench import Bench, checks_once

check = checks_once

OWN = (
    'data: {"response":"Hel"}\n\ndata: {"response":"lo 👋"}\n\ndata: {"response":"","usage":{"prompt_tokens":7,'
    '"completion_tokens":3,"total_tokens":10}}\n\ndata: [DONE]\n\n'
)
COMPLETIONS = (
    'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"lo 👋"},"finish_reason":"stop"}]}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\ndata: [DONE]\n\n'
)
REQUEST = ModelRequest([{"role": "user", "content": "hi"}], system="Be brief")


class Ai:
    """Answers with ``text``, in pieces of ``size`` bytes, or fails with ``error``. ``asked`` is what it was asked."""

    def __init__(self, text: str, *, size: int = 1 << 20, error: str | None = None) -> None:
        from js import Object
        from pyodide.ffi import create_proxy

        self._data = text.encode()
        self._size = size
        self._error = error
        self.asked: list[Any] = []
        self.pulled = 0
        self.cancelled = False
        self.binding = Object.new()
        self.binding.run = create_proxy(self._run)

    async def _run(self, model: str, inputs: Any) -> Any:
        from js import Error, Object, Promise, ReadableStream
        from pyodide.ffi import create_proxy, to_js

        self.asked.append((model, inputs.to_py()))
        if self._error is not None:
            await Promise.reject(Error.new(self._error))

        def pull(controller: Any) -> None:
            piece, self._data = self._data[: self._size], self._data[self._size :]
            self.pulled += 1
            if piece:
                controller.enqueue(to_js(piece))
            else:
                controller.close()

        def cancel(_reason: Any = None) -> None:
            self.cancelled = True

        source = Object.new()
        source.pull = create_proxy(pull)
        source.cancel = create_proxy(cancel)
        return ReadableStream.new(source)


async def _answer(ai: Ai, **options: Any) -> list[ModelEvent]:
    return await gather_items(WorkersAIModel(ai.binding, **options).stream(REQUEST))


@check
async def both_formats_are_read_wherever_they_are_cut(_bench: Bench) -> None:
    for text in (OWN, COMPLETIONS):
        for size in (1, 7, 1 << 20):
            events = await _answer(Ai(text, size=size))
            assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello 👋"
            assert events[-1] == Usage(7, 3)


@check
async def it_is_asked_as_it_wants_to_be(_bench: Bench) -> None:
    ai = Ai(OWN)
    await _answer(ai, model="@cf/some/model", options={"max_tokens": 9})
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hi"}]
    assert ai.asked == [("@cf/some/model", {"messages": messages, "stream": True, "max_tokens": 9})]


@check
async def tool_calls_are_read(_bench: Bench) -> None:
    call = {"name": "look", "arguments": {"at": "ü"}}
    events = await _answer(Ai(f"data: {json.dumps({'response': None, 'tool_calls': [call]})}\n\ndata: [DONE]\n\n"))
    assert len(events) == 1
    assert isinstance(events[0], ToolCall)
    assert (events[0].name, json.loads(events[0].arguments)) == ("look", {"at": "ü"})
    assert events[0].id


@check
async def its_failures_are_model_errors(_bench: Bench) -> None:
    cases = (
        ("3040: Capacity temporarily exceeded, please try again.", True),
        ("5007: No such model @cf/none", False),
        ("InferenceUpstreamError: error code: 1031", False),
        ("Network connection lost.", True),
    )
    for message, retryable in cases:
        with raises(ModelError) as raised:
            await _answer(Ai("", error=message))
        assert raised.error is not None
        assert message in str(raised.error)
        assert raised.error.retryable is retryable
        assert type(raised.error.__cause__).__name__ == "JsException"


@check
async def a_reply_that_breaks_off_is_an_error(_bench: Bench) -> None:
    with raises(ModelError):
        await _answer(Ai('data: {"response":"Hel"}\n\n'))


@check
async def closing_it_ends_the_reply(_bench: Bench) -> None:
    ai = Ai(OWN * 100, size=20)
    events = WorkersAIModel(ai.binding).stream(REQUEST)
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()
    assert ai.cancelled
    assert ai.pulled < 10
