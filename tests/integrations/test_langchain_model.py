"""Runnables and graphs as models of a StreamHandler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("langchain_core")

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import Field

from aibind.conversations import MemoryConversationStore
from aibind.errors import ModelError
from aibind.integrations.langchain import LangChainModel
from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.models import (
    CustomEvent,
    Finish,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from aibind.server import StreamHandler
from aibind.sqlite import wrap_sqlite3
from aibind.streams import SseMessage, SseParser
from tests.support.models import PATIENCE_S, until

HELLO = ModelRequest([{"role": "user", "content": "Hello"}])
USED: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
ASKS = AIMessage(
    "Let me look. ",
    id="m1",
    tool_calls=[{"id": "c1", "name": "warmth", "args": {"place": "Bern"}}],
    usage_metadata=USED,
    response_metadata={"finish_reason": "tool_calls"},
)
SAYS = AIMessage("It is 21.", id="m2", usage_metadata=USED, response_metadata={"finish_reason": "stop"})


class ChunkModel(GenericFakeChatModel):
    """A fake chat model that streams the pieces it is given, and remembers what it was asked and bound to."""

    pieces: list[AIMessageChunk] = Field(default_factory=list)
    asked: list[Any] = Field(default_factory=list)

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        self.asked.append((messages, kwargs))
        for piece in self.pieces:
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=chunk)
            yield chunk

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools)


def says(*texts: str) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(text) for text in texts]))


def agent(*messages: BaseMessage, saver: Any = None) -> Any:
    """Make a graph of a model, a tool and the model again."""
    model = FakeMessagesListChatModel(responses=list(messages))

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def warmth(state: MessagesState) -> dict[str, Any]:
        get_stream_writer()({"progress": {"percent": 50}})
        return {"messages": [ToolMessage('{"celsius":21}', tool_call_id="c1", name="warmth")]}

    def route(state: MessagesState) -> str:
        return "warmth" if cast("AIMessage", state["messages"][-1]).tool_calls else END

    builder: Any = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("warmth", warmth)
    builder.add_edge(START, "ask")
    builder.add_conditional_edges("ask", route)
    builder.add_edge("warmth", "ask")
    return builder.compile(checkpointer=saver)


async def events_of(runnable: Any, request: ModelRequest = HELLO, **options: Any) -> list[ModelEvent]:
    return [event async for event in LangChainModel(runnable, **options).stream(request)]


async def messages_of(reply: Any) -> list[SseMessage]:
    parser = SseParser()
    return [message async for data in reply.body for message in parser.feed(data)]


# --- events ---


async def test_a_chat_model_and_a_chain_give_text() -> None:
    assert await events_of(says("Good day")) == [TextDelta("Good"), TextDelta(" "), TextDelta("day")]
    assert await events_of(says("Good day") | StrOutputParser()) == [
        TextDelta("Good"),
        TextDelta(" "),
        TextDelta("day"),
    ]
    chain: Any = RunnableLambda(lambda given: [("user", given["q"])]) | says("Yes")
    assert await events_of(chain, make_input=lambda request: {"q": "x"}) == [TextDelta("Yes")]


async def test_an_agents_whole_reply() -> None:
    assert await events_of(agent(ASKS, SAYS)) == [
        TextDelta("Let me look. "),
        ToolCall("c1", "warmth", '{"place":"Bern"}'),
        CustomEvent("progress", {"percent": 50}),
        ToolResult("c1", "warmth", '{"celsius":21}'),
        TextDelta("It is 21."),
        Finish("stop"),
        Usage(6, 4),
    ]


async def test_pieces_of_calls_reasoning_and_other_blocks() -> None:
    first: Any = [{"type": "tool_call_chunk", "index": 0, "id": "c1", "name": "warmth", "args": ""}]
    second: Any = [{"type": "tool_call_chunk", "index": 0, "id": None, "name": None, "args": '{"place": "Bern"}'}]
    image: Any = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    pieces = [
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "Hm"}]),
        AIMessageChunk(content="", additional_kwargs={"reasoning_content": "..."}),
        AIMessageChunk(content="Look"),
        AIMessageChunk(content=[image]),
        AIMessageChunk(content="", tool_call_chunks=first),
        AIMessageChunk(content="", tool_call_chunks=second),
        AIMessageChunk(content="", usage_metadata=USED, response_metadata={"stop_reason": "tool_use"}),
    ]
    model = ChunkModel(messages=iter([]), pieces=pieces)
    assert await events_of(model) == [
        ReasoningDelta("Hm"),
        ReasoningDelta("..."),
        TextDelta("Look"),
        CustomEvent("content", image),
        ToolCallDelta("c1", "warmth", '{"place": "Bern"}'),
        ToolCall("c1", "warmth", '{"place": "Bern"}'),
        Finish("tool_calls"),
        Usage(3, 2),
    ]


async def test_a_chat_model_is_bound_to_tools_and_settings() -> None:
    model = ChunkModel(messages=iter([]), pieces=[AIMessageChunk(content="x")], asked=[])
    tool = {"name": "warmth", "description": "", "parameters": {}}
    request = ModelRequest(HELLO.messages, "Be kind", {"type": "object"}, [tool], settings={"temperature": 0})
    await events_of(model, request)
    ((messages, options),) = model.asked
    assert options == {"tools": [{"type": "function", "function": tool}], "temperature": 0}
    assert messages[0].type == "system"
    assert messages[0].content.startswith("Be kind\n\nAnswer with one JSON object")
    others: list[Any] = [agent(SAYS), RunnableLambda(lambda _: "x")]
    for other in others:
        with pytest.raises(ModelError, match="only a chat model takes"):
            await events_of(other, request)


async def test_the_request_is_in_the_config() -> None:
    seen: dict[str, Any] = {}

    def look(_: Any, config: Any) -> str:
        seen.update(config["configurable"])
        return "x"

    request = ModelRequest(HELLO.messages, session_id="s1", owner="ada l", context={"plan": "pro"}, settings={"a": 1})
    assert await events_of(RunnableLambda(look), request) == [TextDelta("x")]
    assert seen == {
        "thread_id": "ada%20l/s1",
        "session_id": "s1",
        "owner": "ada l",
        "context": {"plan": "pro"},
        "system": None,
        "settings": {"a": 1},
    }


async def test_what_is_no_runnable_and_no_message_is_refused() -> None:
    with pytest.raises(TypeError, match="was given str: give a runnable"):
        LangChainModel(cast("Any", "gpt"))
    with pytest.raises(ModelError, match=r"yielded dict: end the chain with"):
        await events_of(RunnableLambda(lambda _: {"answer": 1}))


class ProviderError(Exception):
    status_code = 429


async def test_a_failure_has_our_words_and_the_providers_status(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Any) -> AsyncIterator[str]:
        yield "so "
        raise ProviderError("key sk-123 is out of money")

    with pytest.raises(ModelError) as raised:
        await events_of(RunnableGenerator(fail))
    error = raised.value
    assert (str(error), error.status, error.retryable) == ("The runnable failed with status 429", 429, True)
    assert "sk-123" in caplog.text


# --- graphs that remember ---


async def test_a_graph_that_remembers_is_given_what_is_new(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "graph.db") as client:
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        graph = agent(AIMessage("One."), AIMessage("Two."), saver=saver)
        handler = StreamHandler(model=LangChainModel(graph), conversations=MemoryConversationStore())
        for prompt in ("first", "second"):
            await messages_of(await handler.stream({"prompt": prompt, "sessionId": "s"}))
        state = await graph.aget_state({"configurable": {"thread_id": "s"}})
        assert [message.text for message in state.values["messages"]] == ["first", "One.", "second", "Two."]
        await handler.aclose()


async def test_an_interrupt_is_answered_by_the_next_message(tmp_path: Path) -> None:
    def ask(_: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(f"You said {interrupt({'may': 'I?'})}.")]}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
    async with wrap_sqlite3(tmp_path / "graph.db") as client:
        saver = SqliteCheckpointSaver(client)
        await saver.setup()
        graph = builder.compile(checkpointer=saver)
        (asked,) = await events_of(graph, ModelRequest(HELLO.messages, session_id="s"))
        assert isinstance(asked, CustomEvent)
        assert (asked.name, asked.data["value"]) == ("interrupt", {"may": "I?"})
        yes = ModelRequest([*HELLO.messages, {"role": "user", "content": "yes"}], session_id="s")
        assert await events_of(graph, yes) == [TextDelta("You said yes.")]


# --- in a handler ---


async def test_every_prefix_is_resumed_and_the_next_turn_sees_the_history() -> None:
    store = MemoryConversationStore()
    model = LangChainModel(agent(ASKS, SAYS, AIMessage("Bye.")))
    handler = StreamHandler(model=model, resumable=True, conversations=store)
    reply = await handler.stream({"prompt": "How warm?", "sessionId": "s"})
    whole = await messages_of(reply)
    assert [message.event for message in whole if message.event][-5:] == [
        "tool_call",
        "progress",
        "tool_result",
        "usage",
        "done",
    ]
    stream_id = reply.headers["X-Stream-Id"]
    ids = [message.id for message in whole if message.id]
    assert len(ids) > 4
    for cut in ids:
        rest = await messages_of(await handler.resume(stream_id, cut))
        place = next(number for number, message in enumerate(whole) if message.id == cut)
        assert text_of(rest) == (text_of(whole[place + 1 :]) or [("done", "")])
    await messages_of(await handler.stream({"prompt": "Thanks", "sessionId": "s"}))
    stored = (await store.load("s")).messages
    assert [message["role"] for message in stored] == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert stored[1]["tool_calls"][0]["function"] == {"name": "warmth", "arguments": '{"place":"Bern"}'}
    await handler.aclose()


def text_of(messages: list[SseMessage]) -> list[tuple[str, str]]:
    return [(message.event, message.data) for message in messages if message.event != "stream-id"]


async def test_a_stop_closes_the_runnable() -> None:
    closed: list[bool] = []

    async def endless(_: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                await asyncio.sleep(0.001)
        finally:
            closed.append(True)

    handler = StreamHandler(model=LangChainModel(RunnableGenerator(endless)), resumable=True)
    reply = await handler.stream({"prompt": "x"})
    async with asyncio.timeout(PATIENCE_S):
        await handler.stop({"id": reply.headers["X-Stream-Id"]})
        messages = await messages_of(reply)
        await until(lambda: closed)
    assert messages[-1].event == "done"
    await handler.aclose()
