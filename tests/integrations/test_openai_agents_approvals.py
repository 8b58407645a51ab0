"""Tools of the Agents SDK that need approval: a run is interrupted, and goes on in another handler."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, OpenAIChatCompletionsModel, RunConfig, RunContextWrapper, function_tool
from openai import AsyncOpenAI

from aibind.conversations import MemoryConversationStore
from aibind.integrations.openai_agents import OpenAIAgentsModel
from aibind.server import Access, StreamHandler
from aibind.streams import MemoryStreamStore, SseMessage, SseParser
from tests.integrations.frameworks._endpoint import http_client
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, texts

CALLS = [("c1", "remove", "/a"), ("c2", "remove", "/b"), ("c3", "look", "/c"), ("c4", "remove", "/d")]


def script(exchange: Exchange) -> Reply:
    """Call four tools, then tell what they returned."""
    results = {one["tool_call_id"]: one["content"] for one in exchange.body["messages"] if one["role"] == "tool"}
    if results:
        assert results.keys() == {"c1", "c2", "c3", "c4"}
        return Reply(texts(json.dumps(results)))
    calls = [
        {"index": place, "id": call_id, "function": {"name": name, "arguments": json.dumps({"path": path})}}
        for place, (call_id, name, path) in enumerate(CALLS)
    ]
    return Reply(
        [delta(role="assistant", content=""), *(delta(tool_calls=[call]) for call in calls), delta("tool_calls")]
    )


async def read(reply: Any) -> list[SseMessage]:
    parser, messages = SseParser(), list[SseMessage]()
    async for piece in reply.body:
        messages += parser.feed(piece)
    return messages


async def test_an_interrupted_run_waits_and_goes_on() -> None:
    removed: list[tuple[str, Any]] = []

    @function_tool(needs_approval=True)
    async def remove(context: RunContextWrapper[Any], path: str) -> str:
        removed.append((path, context.context))
        return f"removed {path}"

    @function_tool
    async def look(path: str) -> str:
        return f"{path} is there"

    async with (
        Endpoint(script) as endpoint,
        AsyncOpenAI(api_key="k", base_url=endpoint.base_url, http_client=http_client(), max_retries=0) as client,
    ):
        stores: dict[str, Any] = {"store": MemoryStreamStore(), "conversations": MemoryConversationStore()}
        model = OpenAIChatCompletionsModel("m", openai_client=client)
        first, second = (
            StreamHandler(
                model=OpenAIAgentsModel(
                    Agent(name="Tidy", model=model, tools=[remove, look]), run_config=RunConfig(tracing_disabled=True)
                ),
                resumable=True,
                **stores,
            )
            for _ in range(2)
        )
        access = Access("ada", {"secret": "of the request"})
        events = await read(await first.stream({"prompt": "Tidy up", "sessionId": "s"}, access=access))
        asked = [json.loads(one.data) for one in events if one.event == "approval_request"]
        assert [one["id"] for one in asked] == ["c1", "c2", "c4"]
        assert removed == []
        assert not any("of the request" in one.data for one in events)

        answers = {
            "c1": True,
            "c2": {"approved": False, "reason": "keep it"},
            "c4": {"approved": True, "args": {"path": "/e"}},
        }
        events = await read(await second.approvals.answer("s", {"approvals": answers}, access))
        text = "".join(one.data for one in events if not one.event)
        expected = {"c1": "removed /a", "c2": "keep it", "c3": "/c is there", "c4": "removed /e"}
        assert json.loads(text) == expected
        assert sorted(removed, key=str) == [("/a", access.context), ("/e", access.context)]
        said = (await stores["conversations"].load("ada/s")).messages
        assert [message["role"] for message in said] == ["user", "assistant", *["tool"] * 5, "assistant"]
        await second.aclose()
