"""A server for pages of AG-UI and CopilotKit, with a model that answers what it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aibind.models import CustomEvent, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall, ToolResult, Usage
from aibind.server import StreamHandler, Tool, create_agent_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.http import serve

from .driver import Driver, running_driver

__all__ = ["WORDS", "Script", "served", "serving_agents", "text_in", "user"]


class Script:
    """A model that says words, or what a request's text asks for; it keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []
        self.go = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.asked.append(request)
        last = request.messages[-1]
        if last["role"] == "tool":
            yield TextDelta(f"Refunded: {last['content']}")
        elif str(last["content"]).startswith("count "):
            for number in range(int(last["content"].split()[1])):
                await asyncio.sleep(0.004)
                yield TextDelta(f"{number} ")
        elif last["content"] == "wait":
            yield TextDelta("Half")
            await self.go.wait()
            yield TextDelta(" and half")
        elif last["content"] == "pick":
            yield TextDelta("Which day? ")
            yield ToolCall("p1", "pick_date", '{"month": "May"}')
        elif last["content"] == "both":
            yield ToolCall("p1", "pick_date", '{"month": "May"}')
            yield ToolCall("call_1", "refund", '{"euros": 20}')
        elif last["content"] == "refund":
            yield ToolCall("call_1", "refund", '{"euros": 20}')
        elif last["content"] == "think":
            yield ReasoningDelta("Let me see. ")
            yield TextDelta("A clock: ")
            yield ToolCall("c1", "clock", '{"zone": "Mars"}')
            yield ToolResult("c1", "clock", '{"time": "12:00"}')
            yield CustomEvent("progress", {"percent": 100})
            yield TextDelta("noon")
            yield Usage(7, 9)
        elif last["content"] == "fail":
            yield TextDelta("half")
            raise ZeroDivisionError
        else:
            for number in range(2000 if last["content"] == "long" else 40):
                await asyncio.sleep(0.01)
                yield TextDelta(f"word{number} ")


WORDS = "".join(f"word{number} " for number in range(40))


async def refund(euros: int) -> str:
    """Refund."""
    return f"{euros} euros"


@asynccontextmanager
async def serving_agents(model: Script, **options: Any) -> AsyncIterator[str]:
    """Serve the agents of a model below ``/agent``, with everything in a database in memory; give the address."""
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        schema = {"type": "object", "properties": {"euros": {"type": "integer"}}}
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
            toolsets={"desk": [Tool("refund", "Refunds", refund, schema, needs_approval=True)]},
        )
        app = create_agent_app(handler, **{"options": {"toolset": "desk"}, **options})
        async with handler.running(grace_s=0), serve(app) as url:
            yield f"{url}/agent"


@asynccontextmanager
async def served(model: Script) -> AsyncIterator[tuple[str, Driver]]:
    """Serve the agents of a model, and run AG-UI's client."""
    async with serving_agents(model) as url, running_driver("agent.mjs") as driver:
        yield url, driver


def user(id: str, content: Any) -> dict[str, Any]:
    """Return a user's message."""
    return {"id": id, "role": "user", "content": content}


def text_in(events: list[dict[str, Any]]) -> str:
    """Return the text of an answer's events."""
    return "".join(event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT")
