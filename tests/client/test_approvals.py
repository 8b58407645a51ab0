"""Calls that wait for a user, listed and answered by the clients and by ``aibind ask``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aibind.client import AsyncClient, Client, WaitingCall
from aibind.client.command import ask_and_print
from aibind.errors import ClientError
from aibind.models import ModelEvent, ModelRequest, ToolCall
from aibind.server import StreamHandler, Tool, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.http import serve


async def paying(request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
    """Pay twice, and tell what came of it."""
    if request.messages[-1]["role"] == "user":
        yield ToolCall("c1", "pay", '{"euros":20}')
        yield ToolCall("c2", "pay", '{"euros":7}')
    else:
        yield " ".join(str(message["content"]) for message in request.messages if message["role"] == "tool")


@asynccontextmanager
async def desk(paid: list[int]) -> AsyncIterator[str]:
    async def pay(euros: int) -> str:
        paid.append(euros)
        return f"paid {euros}"

    async with wrap_sqlite3(":memory:") as database:
        await migrate(database)
        handler = StreamHandler(
            model=paying,
            resumable=True,
            store=SqliteStreamStore(database),
            conversations=SqliteMessageStore(database),
            toolsets={"desk": [Tool("pay", "Pays", pay, needs_approval=True)]},
        )
        async with serve(create_app(handler)) as url:
            yield url
        await handler.aclose()


async def test_calls_are_listed_and_answered() -> None:
    paid: list[int] = []
    async with desk(paid) as url, AsyncClient(url) as client:
        reply = client.ask("Pay", session_id="s", toolset="desk")
        await reply.read()
        assert reply.state == "waiting"
        first, second = WaitingCall("c1", "pay", {"euros": 20}), WaitingCall("c2", "pay", {"euros": 7})
        assert reply.approvals == await client.list_approvals("s") == (first, second)
        session = await client.open_session("s")
        assert session is not None
        assert session.approvals == (first, second)

        reply = client.approve("s", {"c1": {"approved": True, "args": {"euros": 15}}})
        assert await reply.read() == ""
        assert reply.state == "waiting"
        assert [call.state for call in await client.list_approvals("s")] == ["approved", "waiting"]
        with pytest.raises(ClientError, match="another answer") as caught:
            await client.approve("s", {"c1": False}).read()
        assert caught.value.status == 409

        reply = client.approve("s", {"c2": {"approved": False, "reason": "later"}})
        events = [event async for event in reply]
        assert [event.event for event in events][:2] == ["approval", "approval"]
        assert reply.state == "done"
        assert paid == [15]
        assert "paid 15" in reply.text
        assert "later" in reply.text
        assert await client.list_approvals("s") == ()


async def test_the_client_without_an_event_loop_answers_too() -> None:
    paid: list[int] = []

    def talk(url: str) -> str:
        with Client(url) as client:
            assert client.ask("Pay", session_id="s", toolset="desk").read() == ""
            return client.approve("s", {call.id: True for call in client.list_approvals("s")}).read()

    async with desk(paid) as url:
        assert await asyncio.to_thread(talk, url) == '"paid 20" "paid 7"'
    assert paid == [20, 7]


async def test_the_command_asks_on_the_terminal() -> None:
    paid: list[int] = []
    written: list[str] = []
    typed = iter(["what?", "[1]", '{"euros": 1}', "no not today"])

    def ask(url: str, question: Any) -> str | None:
        return ask_and_print(
            url, "Pay", session_id="s", toolset="desk", token=None, write=written.append, question=question
        )

    async with desk(paid) as url:
        assert await asyncio.to_thread(ask, url, None) == "it waits for approval of pay, pay"
        assert await asyncio.to_thread(ask, url, lambda _: next(typed)) is None
    assert paid == [1]
    text = "".join(written)
    assert 'pay {"euros": 20}' in text
    assert text.endswith('"paid 1" {"error":"The user did not allow this call","reason":"not today"}')
