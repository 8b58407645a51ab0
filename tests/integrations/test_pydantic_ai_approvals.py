"""Tools of pydantic-ai that need approval: asked by one run, and run by another."""

from __future__ import annotations

import json
from typing import Any

from pydantic_ai import Agent, ApprovalRequired, DeferredToolRequests, RunContext
from pydantic_ai.messages import ModelMessage, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from aibind.conversations import MemoryConversationStore
from aibind.integrations.pydantic_ai import PydanticAIModel
from aibind.server import StreamHandler
from aibind.streams import MemoryStreamStore, SseMessage, SseParser


def returned(messages: list[ModelMessage]) -> dict[str, Any]:
    parts = [part for message in messages for part in message.parts]
    return {part.tool_call_id: part.content for part in parts if isinstance(part, ToolReturnPart)}


async def call_or_tell(messages: list[ModelMessage], info: AgentInfo) -> Any:
    """Call three tools, then tell what they returned."""
    del info
    results = returned(messages)
    if results:
        assert any(isinstance(part, ToolCallPart) for part in messages[1].parts)
        yield json.dumps(results)
        return
    yield {
        0: DeltaToolCall("remove", '{"path": "/a"}', tool_call_id="c1"),
        1: DeltaToolCall("remove", '{"path": "/b"}', tool_call_id="c2"),
        2: DeltaToolCall("look", '{"path": "/c"}', tool_call_id="c3"),
    }


def make_agent(removed: list[str]) -> Agent[Any, Any]:
    agent = Agent(FunctionModel(stream_function=call_or_tell), output_type=[str, DeferredToolRequests])

    def remove(ctx: RunContext[Any], path: str) -> str:
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata={"undo": False})
        removed.append(path)
        return f"removed {path}"

    def look(path: str) -> str:
        return f"{path} is there"

    agent.tool(remove)
    agent.tool_plain(look)
    return agent


async def read(reply: Any) -> list[SseMessage]:
    parser, messages = SseParser(), list[SseMessage]()
    async for piece in reply.body:
        messages += parser.feed(piece)
    return messages


async def test_a_deferred_tool_waits_and_is_run_once_it_is_allowed() -> None:
    removed: list[str] = []
    stores: dict[str, Any] = {"store": MemoryStreamStore(), "conversations": MemoryConversationStore()}
    first, second = (
        StreamHandler(model=PydanticAIModel(make_agent(removed)), resumable=True, **stores) for _ in range(2)
    )
    events = await read(await first.stream({"prompt": "Tidy up", "sessionId": "s"}))
    asked = [json.loads(one.data) for one in events if one.event == "approval_request"]
    assert [(one["id"], one["args"], one["details"]) for one in asked] == [
        ("c1", {"path": "/a"}, {"undo": False}),
        ("c2", {"path": "/b"}, {"undo": False}),
    ]
    assert removed == []

    answers = {"c1": {"approved": True, "args": {"path": "/other"}}, "c2": {"approved": False, "reason": "keep it"}}
    events = await read(await second.approvals.answer("s", {"approvals": answers}))
    text = "".join(one.data for one in events if not one.event)
    assert json.loads(text) == {"c1": "removed /other", "c2": "keep it", "c3": "/c is there"}
    assert removed == ["/other"]
    said = (await stores["conversations"].load("s")).messages
    assert [message["role"] for message in said] == ["user", "assistant", *["tool"] * 4, "assistant"]
    assert len(said[1]["tool_calls"]) == 3
    assert said[-1]["content"] == text
