"""WorkersAIModel against a stand-in: workerd has no Workers AI. It answers with real JavaScript streams."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aibind.cloudflare import WorkersAIModel
from aibind.errors import ModelError
from aibind.models import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from aibind.testing.checks import gather_items, raises

from .bench import Bench, checks_once
from .broken import javascript

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
            assert (Finish("stop") in events) == (text is COMPLETIONS)  # its own format has no reason


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


JSON_REQUEST = ModelRequest(REQUEST.messages, json_schema={"type": "object", "properties": {"a": {"type": "string"}}})


@check
async def json_is_not_asked_for_as_a_stream(bench: Bench) -> None:
    """Workers AI refuses that, and takes the schema as it is."""
    message = """{index: 0, message: {role: "assistant", content: '{"a": "ü"}'}, finish_reason: "stop"}"""
    for answer in ('{response: {a: "ü"}}', """{response: '{"a": "ü"}'}""", f"{{choices: [{message}], object: 'x'}}"):
        run = f"async run(model, inputs) {{ this.asked.push(inputs); return {answer}; }}"
        ai = javascript(bench, f"{{asked: [], {run}}}")
        events = await gather_items(WorkersAIModel(ai).stream(JSON_REQUEST))
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert json.loads(text) == {"a": "ü"}
        asked = ai.asked.to_py()[0]
        assert asked["stream"] is False
        assert asked["response_format"] == {"type": "json_schema", "json_schema": JSON_REQUEST.json_schema}


@check
async def an_answer_in_one_piece_is_read(bench: Bench) -> None:
    cases: tuple[tuple[str, list[Any]], ...] = (
        ("{response: 'whole', usage: {prompt_tokens: 7, completion_tokens: 3}}", [TextDelta("whole"), Usage(7, 3)]),
        ("{response: 42}", [TextDelta("42")]),
        ("{response: null, tool_calls: [{id: 'c', name: 'look', arguments: null}]}", [ToolCall("c", "look", "{}")]),
    )
    for answer, expected in cases:
        ai = javascript(bench, f"{{run: async () => ({answer})}}")
        assert await gather_items(WorkersAIModel(ai).stream(REQUEST)) == expected


@check
async def tool_calls_come_in_pieces_as_well(_bench: Bench) -> None:
    pieces = (
        {"id": "c1", "index": 0, "function": {"name": "look", "arguments": '{"at":'}},
        {"index": 0, "function": {"arguments": '"x"}'}},
        {"id": "c2", "index": 1, "function": {"name": "go", "arguments": "{}"}},
    )
    text = "".join(f"data: {json.dumps({'response': '', 'tool_calls': [piece]})}\n\n" for piece in pieces)
    assert await _answer(Ai(f"{text}data: [DONE]\n\n")) == [
        ToolCall("c1", "look", '{"at":"x"}'),
        ToolCall("c2", "go", "{}"),
    ]


@check
async def an_answer_of_another_shape_is_a_model_error(bench: Bench) -> None:
    streams: tuple[str, ...] = (
        "nope",
        "[1]",
        '{"error":"x"}',
        '{"errors":[{"message":"x"}]}',
        '{"response":"","tool_calls":[7]}',
    )
    streams += ('{"tool_calls":{"name":"x"}}', '{"tool_calls":[{"arguments":{}}]}', '{"response":"","tool_calls":true}')
    for data in streams:
        with raises(ModelError):
            await _answer(Ai(f"data: {data}\n\ndata: [DONE]\n\n"))
    for answer in ("undefined", "null", "'text'", "{}", "{shape: [1], data: [[0.1]]}", "[1]", "new Response('x')"):
        with raises(ModelError):
            ai = javascript(bench, f"{{run: async () => ({answer})}}")
            await gather_items(WorkersAIModel(ai).stream(REQUEST))


def _streaming(bench: Bench, how: str) -> Any:
    """Make a binding whose stream gives one message, and then does as told."""
    text = json.dumps('data: {"response":"hi"}\n\n')
    piece = f"new TextEncoder().encode({text})"
    begin, cancel = {
        "is of text": (f"c.enqueue({text} + 'data: [DONE]'); c.close()", ""),
        "breaks": (f"c.enqueue({piece}); setTimeout(() => c.error('broken off'), 50)", ""),
        "hangs": (f"c.enqueue({piece})", ""),
        "cannot be cancelled": (f"c.enqueue({piece})", "throw 'no'"),
    }[how]
    source = f"{{start(c) {{ {begin} }}, cancel() {{ {cancel} }}}}"
    return javascript(bench, f"{{run: async () => new ReadableStream({source})}}")


@check
async def a_stream_may_be_of_text(bench: Bench) -> None:
    assert await gather_items(WorkersAIModel(_streaming(bench, "is of text")).stream(REQUEST)) == [TextDelta("hi")]


@check
async def a_stream_that_is_broken_off_with_a_text_is_an_error(bench: Bench) -> None:
    """A text, where others would throw an Error, left a reader waiting without end."""
    got: list[ModelEvent] = []
    with raises(ModelError) as raised:
        async with asyncio.timeout(10):
            async for event in WorkersAIModel(_streaming(bench, "breaks")).stream(REQUEST):
                got += [event]
    assert got == [TextDelta("hi")]
    assert "broken off" in str(raised.error)


@check
async def leaving_a_stream_never_fails(bench: Bench) -> None:
    for how in ("hangs", "cannot be cancelled"):
        events = WorkersAIModel(_streaming(bench, how)).stream(REQUEST)
        assert await anext(events) == TextDelta("hi")
        await events.aclose()
        reading = asyncio.ensure_future(gather_items(WorkersAIModel(_streaming(bench, how)).stream(REQUEST)))
        await asyncio.sleep(0.05)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=10)
        assert done
        assert reading.cancelled()
