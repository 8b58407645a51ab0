"""Agents of OpenAI's Agents SDK as models, and its sessions over a conversation store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("agents")

from agents import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    InputGuardrail,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    RunContextWrapper,
    Runner,
    Session,
    SessionSettings,
    function_tool,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError
from aibind.integrations.openai_agents import OpenAIAgentsModel, StoredSession, from_items, to_items
from aibind.models import (
    ApprovalRequest,
    CustomEvent,
    Finish,
    MessageData,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
)
from aibind.models.chat import chat_body
from aibind.server import Access, StreamHandler, session_key
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from tests.integrations.frameworks import CALL_ID, Response, Script
from tests.integrations.frameworks._endpoint import http_client, responses_events, scripted_endpoint
from tests.models.helpers import HELLO, collect_all, collect_until_error, text_of
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, texts, usage
from tests.support.recordings import read_recording

from .support import ask, check_stop, joined, messages_of

QUIET = RunConfig(tracing_disabled=True)
ASKS = Response(("Which ", "place?"), ("Let me ", "look. "), calls=True)
SAYS = Response(text=("It is ", "21."))


@function_tool
async def temperature(context: RunContextWrapper[Any], place: str) -> dict[str, Any]:
    return {"celsius": 21, "user": context.context}


@asynccontextmanager
async def model_of(*responses: Response) -> AsyncIterator[tuple[Any, Script]]:
    script = Script(responses)
    async with scripted_endpoint(script, responses_events) as endpoint, client_of(endpoint) as client:
        yield OpenAIResponsesModel("m", openai_client=client), script


def client_of(endpoint: Endpoint) -> Any:
    return AsyncOpenAI(api_key="sk-secret", base_url=endpoint.base_url, http_client=http_client(), max_retries=0)


def weather(model: Any, **options: Any) -> Agent[Any]:
    return Agent(name="Weather", model=model, tools=[temperature], **options)


# --- the model ---


async def test_a_run_is_a_reply() -> None:
    async with model_of(ASKS, SAYS, SAYS) as (model, script):
        store = MemoryConversationStore()
        handler = StreamHandler(
            model=OpenAIAgentsModel(weather(model), run_config=QUIET),
            conversations=store,
            settings={"temperature": 0.5},
        )
        access = Access("ada", context="ada")
        events = await ask_as(handler, access, "How warm?", sessionId="s", system="Be brief")
        assert [name for name, _ in events if name] == [
            *("reasoning", "message_data", "tool_call", "tool_result", "usage", "done")
        ]
        assert json.loads(dict(events)["tool_result"])["result"] == "{'celsius': 21, 'user': 'ada'}"
        assert dict(events)["usage"] == '{"inputTokens":6,"outputTokens":4}'
        await ask_as(handler, access, "Thanks", sessionId="s")
        first, second, third = (json.loads(asked) for asked in script.asked)
        stored = (await store.load(session_key("s", "ada"))).messages
    assert first["temperature"] == 0.5
    assert first["input"][0] == {"role": "system", "content": "Be brief"}
    assert third["input"][1:4] == second["input"][2:5]  # reasoning, text and call, with their ids
    assert [item.get("type") for item in third["input"]][1:5] == [
        *("reasoning", "message", "function_call", "function_call_output")
    ]
    assert stored[1]["openai"][0] == {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text"}]}
    assert "openai" not in stored[3]
    sent = chat_body("m", ModelRequest(stored))["messages"]  # any other model reads it too
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user", "assistant"]


async def ask_as(handler: StreamHandler, access: Access, prompt: str, **body: Any) -> list[tuple[str, str]]:
    return joined(await messages_of(await handler.stream({"prompt": prompt, **body}, access=access)))


async def test_a_handoff_is_an_event() -> None:
    def call(exchange: Exchange) -> Reply:
        tools = [tool["function"]["name"] for tool in exchange.body.get("tools", ())]
        if not tools:
            return Reply([*texts("Moin"), usage(1, 1)])
        function = {"name": tools[0], "arguments": "{}"}
        return Reply(
            [delta(tool_calls=[{"index": 0, "id": "h1", "function": function}]), delta("tool_calls"), usage(2, 2)]
        )

    async with Endpoint(call) as endpoint, client_of(endpoint) as client:
        model = OpenAIChatCompletionsModel("m", openai_client=client)
        north = Agent(name="North", model=model)
        first = Agent(name="First", model=model, handoffs=[north])
        events = await collect_all(OpenAIAgentsModel(first, run_config=QUIET))
    assert events == [
        ToolCall("h1", "transfer_to_north", "{}"),
        ToolResult("h1", "transfer_to_north", '{"assistant": "North"}'),
        CustomEvent("handoff", {"from": "First", "to": "North"}),
        TextDelta("Moin"),
        Finish("stop"),
        Usage(3, 3),
    ]


async def test_tools_that_openai_runs_and_citations() -> None:
    searching = Reply(read_recording("responses-web-search"), done=False)
    async with Endpoint(searching) as endpoint, client_of(endpoint) as client:
        agent = Agent(name="a", model=OpenAIResponsesModel("m", openai_client=client))
        store = MemoryConversationStore()
        handler = StreamHandler(model=OpenAIAgentsModel(agent, run_config=QUIET), conversations=store)
        events = await ask(handler, sessionId="s")
        await ask(handler, "Again", sessionId="s")
        asked = endpoint.exchanges[1].body["input"]
    names = [name for name, _ in events]
    assert names.count("server_tool") == 4
    assert "citation" in names
    assert [item.get("type") for item in asked if item.get("type") != "reasoning"] == [
        *(None, "web_search_call", "web_search_call", "message", None)
    ]


async def test_a_call_that_waits_for_approval_is_an_event() -> None:
    async with model_of(ASKS) as (model, _):
        tool = temperature
        guarded = FunctionTool(
            tool.name, tool.description, tool.params_json_schema, tool.on_invoke_tool, needs_approval=True
        )
        events = await collect_all(OpenAIAgentsModel(Agent(name="a", model=model, tools=[guarded]), run_config=QUIET))
    assert events[-3:] == [
        ApprovalRequest(CALL_ID, "temperature", '{"place":"Bern"}'), Finish("tool_calls"), Usage(3, 2)
    ]  # fmt: skip
    assert isinstance(events[-4], MessageData)


async def test_structured_output() -> None:
    schema = {"title": "Level", "type": "object", "properties": {"level": {"type": "number"}}}
    async with model_of(Response(text=('{"level"', ":2}")), Response(text=("{}",))) as (model, script):
        agent = OpenAIAgentsModel(Agent(name="a", model=model), run_config=QUIET)
        assert text_of(await collect_all(agent, ModelRequest(HELLO.messages, json_schema=schema))) == '{"level":2}'
        await collect_all(agent, ModelRequest(HELLO.messages, json_schema={}))
        first, second = (json.loads(asked)["text"]["format"] for asked in script.asked)
    assert (first["schema"], first["strict"]) == (schema, False)
    assert second["schema"] == {"type": "object"}


async def test_a_stop_cancels_the_run() -> None:
    script = Script((Response(endless=True),))
    async with scripted_endpoint(script, responses_events) as endpoint, client_of(endpoint) as client:
        model = OpenAIResponsesModel("m", openai_client=client)
        handler = StreamHandler(model=OpenAIAgentsModel(weather(model), run_config=QUIET), resumable=True)
        await check_stop(handler, endpoint)
        await handler.aclose()


async def trip(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered=True)


async def test_failures() -> None:
    async with model_of(ASKS, Response(text=("Half",), fails=True), SAYS) as (model, _):
        agent = weather(model)
        _, error = await collect_until_error(OpenAIAgentsModel(agent, max_turns=1, run_config=QUIET))
        assert (str(error), cast("ModelError", error).code) == (
            "The agent was stopped: Max turns (1) exceeded", "max_turns"
        )  # fmt: skip
        events, error = await collect_until_error(OpenAIAgentsModel(agent, run_config=QUIET))
        assert isinstance(error, ModelError)
        assert (text_of(events), error.for_clients) == ("Half", "The model's endpoint broke off with an error")
        guarded = weather(model, input_guardrails=[InputGuardrail(trip)])
        _, error = await collect_until_error(OpenAIAgentsModel(guarded, run_config=QUIET))
        assert str(error) == "A guardrail of the agent stopped the answer"
    _, error = await collect_until_error(OpenAIAgentsModel(agent, run_config=QUIET))
    assert str(error).startswith(("The model's endpoint cannot be reached", "The model's client was closed"))
    _, error = await collect_until_error(OpenAIAgentsModel(agent), ModelRequest(HELLO.messages, tools=[{"name": "t"}]))
    assert str(error) == "An agent runs its own tools: leave out toolset"
    _, error = await collect_until_error(OpenAIAgentsModel(agent), ModelRequest([]))
    assert "nothing to answer" in str(error)
    wrong: Any = "agent"
    with pytest.raises(TypeError, match="agent is of type str: give an Agent"):
        OpenAIAgentsModel(wrong)
    assert repr(OpenAIAgentsModel(agent)) == "OpenAIAgentsModel('Weather')"


async def test_context_and_settings_may_be_given() -> None:
    async with model_of(ASKS, SAYS) as (model, script):
        config = RunConfig(tracing_disabled=True, model_settings=ModelSettings(temperature=0.1))
        agent = OpenAIAgentsModel(weather(model), context=lambda request: request.owner, run_config=config)
        request = ModelRequest(HELLO.messages, owner="bo", settings={"temperature": 1, "top_p": 0.5, "odd": 2})
        events = await collect_all(agent, request)
        asked = json.loads(script.asked[0])
    [result] = [event for event in events if isinstance(event, ToolResult)]
    assert "'user': 'bo'" in result.result
    assert (asked["temperature"], asked["top_p"], asked["odd"]) == (0.1, 0.5, 2)
    assert any(isinstance(event, MessageData) for event in events)


# --- the session ---


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryConversationStore()
        return
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        yield SqliteMessageStore(client)


async def test_an_agent_and_a_handler_share_a_conversation(store: Any) -> None:
    async with model_of(ASKS, SAYS, SAYS, SAYS) as (model, script):
        handler = StreamHandler(
            model=OpenAIAgentsModel(weather(model), run_config=QUIET), conversations=store, resumable=True
        )
        await run_in(StoredSession(store, "s"), weather(model), "How warm?")
        await ask(handler, "Thanks", sessionId="s")
        session = StoredSession(store, "s")
        await run_in(session, weather(model), "Bye")
        asked = [json.loads(one)["input"] for one in script.asked]
        assert [item.get("type") or item["role"] for item in asked[3]] == [
            *("user", "reasoning", "message", "function_call", "function_call_output", "message"),
            *("user", "assistant", "user"),
        ]
        assert asked[2][:5] == asked[3][:5]
        messages = (await store.load("s")).messages
        assert [message["role"] for message in messages] == [
            *("user", "assistant", "tool", "assistant", "user", "assistant", "user", "assistant")
        ]
        assert messages[1]["reasoning"] == "Which place?"
        assert messages[1]["tool_calls"][0]["function"] == {"name": "temperature", "arguments": '{"place":"Bern"}'}
        assert chat_body("m", ModelRequest(messages))["messages"][2]["name"] == "temperature"
        assert await session.get_items() == asked[3] + [(await session.get_items())[-1]]
        await handler.aclose()


async def run_in(session: Session, agent: Agent[Any], prompt: str) -> None:
    run = Runner.run_streamed(agent, prompt, session=session, run_config=QUIET)
    async for _ in run.stream_events():
        pass


UNKNOWN: Any = {"type": "hologram", "id": "h1", "rays": [1, 2]}
ITEMS: list[Any] = [
    {"role": "user", "content": "How warm?"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
    {"type": "function_call", "id": "f1", "call_id": "c1", "name": "t", "arguments": '{"a": 1}', "status": "completed"},
    {"type": "function_call", "id": "f2", "call_id": "c2", "name": "t", "arguments": "{}", "status": "completed"},
    {"type": "function_call_output", "call_id": "c1", "output": "1"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
    UNKNOWN,
    {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
    },
]


async def test_the_session_protocol(store: Any) -> None:
    session = StoredSession(store, "s")
    assert isinstance(session, Session)
    assert await session.pop_item() is None
    await session.add_items([])
    assert await session.get_items() == []
    await session.add_items(ITEMS[:4])
    await session.add_items(ITEMS[4:])
    assert await StoredSession(store, "s").get_items() == ITEMS
    for limit in range(10):
        assert await session.get_items(limit) == (ITEMS[-limit:] if limit else [])
    assert await StoredSession(store, "s", session_settings=SessionSettings(limit=2)).get_items() == ITEMS[-2:]
    assert len((await store.load("s")).messages) == 5
    for left in range(len(ITEMS) - 1, -1, -1):
        assert await session.pop_item() == ITEMS[left]
        assert await session.get_items() == ITEMS[:left]
    assert await session.pop_item() is None
    await session.add_items(ITEMS[:1])
    await session.clear_session()
    assert await session.get_items() == []
    assert repr(session) == "<StoredSession session_id='s'>"


async def test_a_popped_message_keeps_what_was_said_below_it(store: Any) -> None:
    session = StoredSession(store, "s")
    await session.add_items(ITEMS[:1] + ITEMS[-1:])
    chat = await store.load("s")
    question = chat.node_ids[0]
    chat.tree.set_active_leaf(question)
    chat.append({"role": "assistant", "content": "Other"})
    other = chat.node_ids[-1]
    chat.append({"role": "user", "content": "And?"})
    chat.tree.set_active_leaf(other)
    await store.save("s", chat)
    popped: Any = await session.pop_item()
    assert popped["content"] == "Other"
    assert (await store.load("s")).size == 4
    assert await session.get_items() == ITEMS[:1]


# --- items ---

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
NAMES = st.text("abc", min_size=1, max_size=3)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
MORE: Any = st.sampled_from([{}, {"id": "i1"}, {"status": "completed"}])
PARTS: Any = st.lists(
    st.builds(lambda text: {"type": "input_text", "text": text}, TEXT)
    | st.builds(
        lambda name, more: {"type": "input_image", "image_url": f"https://x/{name}", **more},
        NAMES,
        st.sampled_from([{}, {"detail": "low"}]),
    )
    | st.builds(lambda name: {"type": "input_image", "file_id": name}, NAMES)
    | st.builds(lambda name: {"type": "input_file", "file_id": name, "filename": name}, NAMES)
    | st.builds(lambda name: {"type": "input_audio", "input_audio": {"data": name}}, NAMES),
    max_size=3,
)
OUTPUT_TEXTS: Any = st.lists(
    st.builds(
        lambda text, notes: {"type": "output_text", "text": text, "annotations": notes},
        TEXT,
        st.lists(JSON, max_size=1),
    )
    | st.builds(lambda text: {"type": "refusal", "refusal": text}, TEXT),
    max_size=2,
)
TYPED: Any = st.sampled_from([{}, {"type": "message"}])
ITEM: Any = (
    st.builds(
        lambda role, content, more: {"role": role, "content": content, **more},
        st.sampled_from(["user", "system", "developer"]),
        TEXT | PARTS,
        TYPED,
    )
    | st.builds(
        lambda content, more, typed: {"role": "assistant", "content": content, **more, **typed},
        TEXT | OUTPUT_TEXTS,
        MORE,
        TYPED,
    )
    | st.builds(
        lambda texts, more: {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text} for text in texts],
            **more,
        },
        st.lists(TEXT, max_size=2),
        MORE,
    )
    | st.builds(
        lambda i, name, text, more: {"type": "function_call", "call_id": i, "name": name, "arguments": text, **more},
        NAMES,
        NAMES,
        TEXT | st.dictionaries(NAMES, JSON, max_size=2).map(json.dumps),
        MORE,
    )
    | st.builds(
        lambda i, name, text, more: {"type": "custom_tool_call", "call_id": i, "name": name, "input": text, **more},
        NAMES,
        NAMES,
        TEXT,
        MORE,
    )
    | st.builds(
        lambda i, output, more: {"type": "function_call_output", "call_id": i, "output": output, **more},
        NAMES,
        TEXT | PARTS,
        MORE,
    )
    | st.builds(lambda i, output: {"type": "custom_tool_call_output", "call_id": i, "output": output}, NAMES, TEXT)
    | st.builds(lambda name, value: {"type": name, "id": "u1", "value": value}, NAMES, JSON)
)


@settings(max_examples=80, deadline=None)
@given(st.lists(ITEM, max_size=6))
def test_items_come_back(items: list[dict[str, Any]]) -> None:
    stored = json.loads(json.dumps(from_items(items)))
    assert to_items(stored) == items
    for message in stored:
        assert message["role"] in ("user", "assistant", "system", "developer", "tool")


CALLS: Any = st.builds(
    lambda name, args: {
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(args, separators=(",", ":"))},
    },
    NAMES,
    st.dictionaries(NAMES, JSON, max_size=2),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(TEXT.filter(bool), NAMES, CALLS, TEXT), max_size=3))
def test_stored_messages_come_back(turns: list[tuple[str, str, dict[str, Any], str]]) -> None:
    stored: list[dict[str, Any]] = []
    for number, (text, picture, call, result) in enumerate(turns):
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
        stored += [
            {"role": "user", "content": [{"type": "text", "text": text}, image]},
            {"role": "assistant", "content": text, "tool_calls": [{"id": f"c{number}", **call}]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": result, "name": call["function"]["name"]},
            {"role": "assistant", "content": text},
        ]
    assert from_items(to_items(stored)) == stored
