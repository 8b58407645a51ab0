"""A server for chat pages, with a model that answers what it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

from aibind.models import (
    CustomEvent,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from aibind.server import StreamHandler, Tool, create_chat_app
from aibind.sqlite import SqliteClient, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.http import serve

__all__ = ["PAID", "Address", "Scripted", "Server", "check_stored", "serving", "shown"]


class Scripted:
    """A model that answers what it is asked for: counting, failing, calling tools."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.go = asyncio.Event()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        prompt = question_of(request)
        last = request.messages[-1]
        if prompt.startswith("count"):
            for number in range(int(prompt.split()[1])):
                await asyncio.sleep(0.004)
                yield TextDelta(f"{number} ")
        elif prompt == "wait":
            yield TextDelta("Half")
            await self.go.wait()
            yield TextDelta(" and half")
        elif prompt == "fail":
            yield TextDelta("Half")
            raise ValueError("a secret")
        elif prompt == "tool" and last["role"] == "user":
            yield ReasoningDelta("The clock")
            yield ReasoningDelta(" knows")
            yield ToolCallDelta("c1", "clock", '{"zone":')
            yield ToolCallDelta("c1", "clock", '"Mars"}')
            yield ToolCall("c1", "clock", '{"zone":"Mars"}')
            yield ToolCall("c2", "broken", "{}")
        elif prompt == "tool":
            yield TextDelta("Noon")
        elif prompt in ("pay", "ask", "pick") and last["role"] == "user":
            yield TextDelta("Well: ")
            yield ToolCall("c1", "clock", '{"zone":"Mars"}')
            yield ToolCall("c2", prompt, '{"euros":5}')
        elif prompt in ("pay", "ask", "pick"):
            yield TextDelta(f"So {last['content']}")
        elif prompt == "extras":
            yield CustomEvent("citation", {"url": "https://a.example", "title": "A"})
            yield CustomEvent("progress", {"id": "p", "percent": 1})
            yield TextDelta("Look")
            yield CustomEvent("progress", {"id": "p", "percent": 100})
            yield CustomEvent("file", {"url": "data:text/plain,hi", "mediaType": "text/plain"})
        else:
            seen = sum(message["role"] == "user" for message in request.messages)
            yield TextDelta(f"{len(self.requests)}: {prompt} ({seen})")
        yield Usage(3, 4)


def question_of(request: ModelRequest) -> str:
    """Return the text of the last question."""
    content: Any = next(message["content"] for message in reversed(request.messages) if message["role"] == "user")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


async def clock(zone: str) -> dict[str, str]:
    """Tell the time."""
    return {"time": f"12:00 on {zone}"}


async def broken() -> None:
    """Fail."""
    raise ValueError("out of order")


PAID: list[int] = []


async def pay(euros: int) -> str:
    """Pay."""
    PAID.append(euros)
    return f"{euros} euros"


TOOLS = [
    Tool("clock", "Tells the time", clock),
    Tool("broken", "Fails", broken),
    Tool("pay", "Pays", pay, needs_approval=True),
    Tool("ask", "Asks on the page", None),
]


@dataclass
class Address:
    """The address of a server with a chat app."""

    url: str

    @property
    def api(self) -> str:
        """The address that pages know."""
        return f"{self.url}/api/chat"

    async def stored(self, chat: str) -> list[dict[str, Any]]:
        """Return the stored messages of a chat, as a page that is opened gets them."""
        async with httpx2.AsyncClient() as client:
            response = await client.get(f"{self.api}/{chat}")
            assert response.status_code == 200
            messages: list[dict[str, Any]] = response.json()["messages"]
            return messages

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        """Ask for something below the address."""
        async with httpx2.AsyncClient() as client:
            return await client.get(f"{self.api}{path}", **options)

    async def post(self, path: str, **options: Any) -> httpx2.Response:
        """Send something below the address."""
        async with httpx2.AsyncClient() as client:
            return await client.post(f"{self.api}{path}", **options)


@dataclass
class Server(Address):
    """A server with a chat app, in this process."""

    model: Scripted
    handler: StreamHandler
    database: SqliteClient


@contextlib.asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Server]:
    """Serve the scripted model, with everything in a database in memory."""
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        model = Scripted()
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
            toolsets={"all": TOOLS},
        )
        async with serve(create_chat_app(handler, options={"toolset": "all"}, **options)) as url:
            try:
                yield Server(url, model, handler, client)
            finally:
                await handler.aclose()


def shown(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as it is compared: without what only the client or only the store has.

    Once a call has its result, the store does not say with the call that it was allowed. Version 5 of the AI SDK does
    not keep where a dynamic tool has run.
    """
    parts: list[dict[str, Any]] = []
    for part in message["parts"]:
        left_out = {"id", "rawInput", "providerExecuted"}
        if part.get("state") != "approval-requested":
            left_out.add("approval")
        parts.append({name: value for name, value in part.items() if name not in left_out and value is not None})
    return {"role": message["role"], "id": message["id"], "parts": parts}


async def check_stored(server: Server, state: dict[str, Any], chat: str = "chat-1") -> None:
    """Check that the page shows what is stored."""
    stored = await server.stored(chat)
    assert [shown(message) for message in state["messages"]] == [shown(message) for message in stored]
