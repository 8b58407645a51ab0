"""pydantic-ai's agents as models, with its own offline models."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_ai import Agent, CustomEvent, ModelRetry, RunContext
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    BinaryContent,
    BinaryImage,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from aibind.conversations import MemoryConversationStore
from aibind.history import ChatHistory
from aibind.integrations.pydantic_ai import PydanticAIModel, from_pydantic_ai, to_pydantic_ai
from aibind.integrations.pydantic_ai.messages import to_prompt
from aibind.server import Access, HttpResponse, StreamHandler
from aibind.streams import DurableStream, MemoryStreamStore, SseMessage
from tests.support.models import PATIENCE_S
from tests.support.sources import read_all


async def messages_of(reply: HttpResponse[Any]) -> list[SseMessage]:
    assert not isinstance(reply.body, bytes), reply.body
    async with asyncio.timeout(PATIENCE_S):
        return await read_all(reply.body)


async def events_of(reply: HttpResponse[Any]) -> list[tuple[str, str]]:
    return [(m.event, m.data) for m in await messages_of(reply) if m.event != "stream-id"]


class Script:
    """A model that says what it is told to, response by response, and keeps what it was asked."""

    def __init__(self, *responses: list[Any]) -> None:
        self._responses = list(responses)
        self.asked: list[list[ModelMessage]] = []
        self.info: AgentInfo | None = None
        self.closed = 0

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.asked.append(list(messages))
        self.info = info
        try:
            for piece in self._responses[len(self.asked) - 1]:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                await asyncio.sleep(0)
        finally:
            self.closed += 1

    @property
    def model(self) -> FunctionModel:
        return FunctionModel(stream_function=self.stream)


CALL = [{0: DeltaThinkingPart(content="Which zone? ")}, {0: DeltaThinkingPart(content="UTC.")}, "Let me look. "]
CALL += [{1: DeltaToolCall("clock", '{"zo', tool_call_id="c1")}, {1: DeltaToolCall(json_args='ne":"UTC"}')}]


def clock_agent(script: Script) -> Agent[Any, str]:
    agent: Agent[Any, str] = Agent(script.model, name="clock")

    @agent.tool
    async def clock(context: RunContext[Any], zone: str) -> dict[str, Any]:
        await context.emit(Progress(percent=50))
        return {"zone": zone, "user": context.deps}

    return agent


@dataclass(kw_only=True)
class Progress(CustomEvent):
    percent: int


WHOLE = [
    ("reasoning", "Which zone? UTC."),
    ("", "Let me look. "),
    ("tool_call", '{"id":"c1","name":"clock","args":{"zone":"UTC"}}'),
    ("progress", '{"tool_call_id":"c1","tool_name":"clock","percent":50}'),
    ("tool_result", '{"id":"c1","name":"clock","result":{"zone":"UTC","user":"ada"}}'),
    ("", "It is noon."),
]


def joined(events: list[tuple[str, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, data in events:
        if found and found[-1][0] == name in ("", "reasoning"):
            found[-1] = (name, found[-1][1] + data)
        else:
            found.append((name, data))
    return found


async def test_an_agent_is_a_model() -> None:
    """Reasoning, text, a call, an event of the application, a result, usage; and the next turn sees the history."""
    script = Script(CALL, ["It is ", "noon."], ["You asked before."])
    conversations, store = MemoryConversationStore(), MemoryStreamStore()
    handler = StreamHandler(
        model=PydanticAIModel(clock_agent(script)),
        resumable=True,
        store=store,
        conversations=conversations,
        settings={"temperature": 0.5},
    )
    access = Access("ada", context="ada")
    body = {"prompt": "How late is it?", "sessionId": "s", "system": "Be brief"}
    live = await messages_of(await handler.stream(body, access=access))
    events = joined([(m.event, m.data) for m in live if m.event not in ("stream-id", "usage", "done")])
    assert events == WHOLE
    assert [m.event for m in live[-2:]] == ["usage", "done"]
    assert script.info is not None
    assert script.info.model_settings == {"temperature": 0.5}
    assert script.info.instructions == "Be brief"

    stream_id = live[0].data
    for seen, message in enumerate(live[1:-1], 2):
        rest = (await DurableStream.resume(store, stream_id, int(message.id))).body
        resumed = [*live[:seen], *await read_all(rest)]
        assert joined([(m.event, m.data) for m in resumed]) == joined([(m.event, m.data) for m in live])

    await events_of(await handler.stream({"prompt": "Again?", "sessionId": "s"}, access=access))
    question, call, result, answer, again = script.asked[2]
    assert [part.content for part in question.parts if isinstance(part, UserPromptPart)] == ["How late is it?"]
    assert isinstance(call, ModelResponse)
    assert [part.part_kind for part in call.parts] == ["thinking", "text", "tool-call"]
    assert call.tool_calls[0].args_as_dict() == {"zone": "UTC"}
    assert isinstance(result.parts[0], ToolReturnPart)
    assert result.parts[0].content == {"zone": "UTC", "user": "ada"}
    assert isinstance(answer, ModelResponse)
    assert answer.text == "It is noon."
    assert [part.content for part in again.parts if isinstance(part, UserPromptPart)] == ["Again?"]


async def test_arguments_grow_when_asked_for() -> None:
    script = Script(CALL, ["It is noon."])
    model = PydanticAIModel(clock_agent(script), deps=lambda request: request.owner, call_deltas=True)
    events = await events_of(await StreamHandler(model=model).stream({"prompt": "x"}, access=Access("ada")))
    assert [data for name, data in events if name == "tool_call_delta"] == [
        '{"id":"c1","name":"clock","delta":"{\\"zo"}',
        '{"id":"c1","name":"clock","delta":"ne\\":\\"UTC\\"}"}',
    ]
    assert '"user":"ada"' in dict(events)["tool_result"]


async def test_a_model_is_an_agent_without_tools() -> None:
    events = await events_of(await StreamHandler(model=PydanticAIModel(TestModel())).stream({"prompt": "x"}))
    assert "".join(data for name, data in events if not name) == "success (no tool calls)"
    assert events[-2][0] == "usage"
    events = await events_of(await StreamHandler(model=PydanticAIModel("test")).stream({"prompt": "x"}))
    assert "".join(data for name, data in events if not name) == "success (no tool calls)"


class City(BaseModel):
    name: str
    people: int


@pytest.mark.parametrize("schema", [None, {}, City.model_json_schema()])
async def test_structured_output(schema: dict[str, Any] | None) -> None:
    model = TestModel(custom_output_args={"name": "Bern", "people": 7})
    agent: Agent[Any, Any] = Agent(model, output_type=City) if schema is None else Agent(model)
    handler = StreamHandler(model=PydanticAIModel(agent))
    body = {"prompt": "x"} if schema is None else {"prompt": "x", "schema": schema}
    events = await events_of(await handler.structured(body))
    assert dict(events)["data"] == '{"name":"Bern","people":7}'
    if schema is None:
        plain = await events_of(await handler.stream({"prompt": "x"}))
        assert plain[0] == ("", '{"name":"Bern","people":7}')


async def test_a_stop_closes_the_models_answer() -> None:
    closed = asyncio.Event()
    started = asyncio.Event()

    async def endless(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                started.set()
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    agent: Agent[Any, str] = Agent(FunctionModel(stream_function=endless))
    handler = StreamHandler(model=PydanticAIModel(agent), resumable=True)
    reply = await handler.stream({"prompt": "x"})
    await started.wait()
    await handler.stop({"id": reply.headers["X-Stream-Id"]})
    assert closed.is_set()
    assert (await events_of(reply))[-2:] == [("stopped", ""), ("done", "")]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModelHTTPError(429, "m", {"message": "secret"}), "The model's endpoint answered 429"),
        (RuntimeError("secret"), "The model failed"),
    ],
)
async def test_a_failure_keeps_the_text_before_it(error: Exception, told: str) -> None:
    conversations = MemoryConversationStore()
    agent: Agent[Any, str] = Agent(Script(["Half an ", error]).model)
    handler = StreamHandler(model=PydanticAIModel(agent), resumable=True, conversations=conversations)
    events = await events_of(await handler.stream({"prompt": "x", "sessionId": "s"}))
    assert events[-2:] == [("error", told), ("done", "")]
    assert (await conversations.load("s")).messages[-1]["content"] == "Half an "


async def test_a_tool_that_asks_to_be_called_again() -> None:
    agent: Agent[Any, str] = Agent(Script([{0: DeltaToolCall("t", "{}", tool_call_id="1")}], ["done"]).model)

    @agent.tool_plain
    async def t() -> str:
        raise ModelRetry("give a zone")

    events = await events_of(await StreamHandler(model=PydanticAIModel(agent)).stream({"prompt": "x"}))
    assert "give a zone" in dict(events)["tool_result"]
    assert '"error"' in dict(events)["tool_result"]


async def test_tools_of_the_handler_are_refused() -> None:
    handler = StreamHandler(model=PydanticAIModel(TestModel()), toolsets={"none": []})
    events = await events_of(await handler.stream({"prompt": "x", "toolset": "none"}))
    assert events[-1] == ("done", "")
    with pytest.raises(TypeError, match="agent is of type int: give an Agent"):
        PydanticAIModel(7)  # type: ignore[arg-type]


def test_files_and_system_prompts_arrive() -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    parts = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
    ]
    prompt = to_prompt({"role": "user", "content": parts})
    assert not isinstance(prompt, str)
    text, image, file = prompt
    assert text == "Look"
    assert isinstance(image, BinaryContent)
    assert (image.data, image.media_type) == (b"\x89PNG", "image/png")
    assert isinstance(file, BinaryContent)
    assert file.media_type == "application/pdf"
    (request,) = to_pydantic_ai([{"role": "system", "content": "Be brief"}])
    assert isinstance(request, ModelRequest)
    assert request.parts[0].part_kind == "system-prompt"


TEXT = st.text(min_size=1, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=3), JSON), min_size=1, max_size=4))
def test_the_history_loses_nothing(turns: list[tuple[str, str, str, dict[str, Any], Any]]) -> None:
    stored: list[dict[str, Any]] = []
    for number, (question, reasoning, text, arguments, result) in enumerate(turns):
        function = {"name": "tool", "arguments": json.dumps(arguments)}
        calls = [{"id": f"c{number}", "type": "function", "function": function}]
        stored += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": text, "reasoning": reasoning, "tool_calls": calls},
            {"role": "tool", "tool_call_id": f"c{number}", "name": "tool", "content": json.dumps(result)},
            {"role": "assistant", "content": text},
        ]
    history = to_pydantic_ai(stored)
    assert len(history) == len(stored)
    for number, (question, reasoning, text, arguments, result) in enumerate(turns):
        asked, call, returned, answer = history[number * 4 : number * 4 + 4]
        assert asked.parts[0].content == question  # type: ignore[union-attr]
        assert isinstance(call, ModelResponse)
        assert (call.thinking, call.text) == (reasoning, text)
        assert (call.tool_calls[0].args_as_dict(), call.tool_calls[0].tool_call_id) == (arguments, f"c{number}")
        assert returned.parts[0].content == result  # type: ignore[union-attr]
        assert isinstance(answer, ModelResponse)
        assert answer.text == text


def words(inner: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(inner, TEXT)


NAME = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=3)
IMAGES = st.builds(BinaryImage, st.binary(max_size=20), media_type=st.sampled_from(["image/png", "image/webp"]))
PROMPTS = st.lists(TEXT | IMAGES | st.builds(ImageUrl, st.just("https://example.com/a.png")), min_size=1, max_size=4)
REQUESTS = st.builds(
    ModelRequest,
    st.lists(
        words(SystemPromptPart)
        | st.builds(UserPromptPart, TEXT | PROMPTS)
        | st.builds(ToolReturnPart, NAME, JSON, NAME, outcome=st.sampled_from(["success", "failed", "retried"])),
        max_size=4,
    ),
    instructions=st.none() | TEXT,
    metadata=st.none() | ARGUMENTS,
)
RESPONSES = st.builds(
    ModelResponse,
    st.lists(
        words(TextPart)
        | st.builds(ThinkingPart, TEXT, signature=st.none() | TEXT)
        | st.builds(ToolCallPart, NAME, ARGUMENTS | ARGUMENTS.map(json.dumps), NAME),
        max_size=4,
    ),
    model_name=st.none() | NAME,
    finish_reason=st.sampled_from([None, "stop", "length"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS | RESPONSES, max_size=5))
def test_messages_of_pydantic_ai_come_back_from_a_conversation(history: list[ModelMessage]) -> None:
    chat = ChatHistory()
    for message in from_pydantic_ai(history):
        chat.append(message)
    restored = ChatHistory.from_json(chat.to_json())
    assert to_pydantic_ai(restored.messages) == history


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, st.binary(max_size=20), TEXT, TEXT, ARGUMENTS), min_size=1, max_size=3))
def test_stored_messages_come_back_from_pydantic_ai(turns: list[tuple[str, bytes, str, str, dict[str, Any]]]) -> None:
    stored: list[dict[str, Any]] = []
    for number, (question, image, reasoning, text, arguments) in enumerate(turns):
        url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        function = {"name": "tool", "arguments": json.dumps(arguments)}
        stored += [
            {
                "role": "user",
                "content": [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}],
            },
            {
                "role": "assistant",
                "content": text,
                "reasoning": reasoning,
                "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": f"c{number}", "name": "tool", "content": text},
        ]
    back = from_pydantic_ai(to_pydantic_ai(stored))
    assert [{key: value for key, value in message.items() if key != "pydantic_ai"} for message in back] == [
        {**message, "content": text_of_value(message["content"])} if message["role"] == "tool" else message
        for message in stored
    ]


def text_of_value(text: str) -> str:
    """Return a result as pydantic-ai writes it: JSON is a value there, and has no spaces."""
    return to_pydantic_ai([{"role": "tool", "tool_call_id": "c", "content": text}])[0].parts[0].model_response_str()  # type: ignore[union-attr]
