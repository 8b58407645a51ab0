"""pydantic-ai's own AI SDK adapter, made durable: the chat of the AI SDK resumes, which it could not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aibind.server import durable_response, resume_response
from aibind.streams import DurableStream, MemoryStreamStore
from tests.support.http import serve

from .driver import VERSIONS, running_driver, text_of

WORDS = [f"word{number} " for number in range(30)]
TEXT = "".join(WORDS)


def make_app(asked: list[str]) -> Starlette:
    store = MemoryStreamStore()

    async def words(messages: list[Any], info: AgentInfo) -> AsyncIterator[str]:
        asked.append("asked")
        for word in WORDS:
            await asyncio.sleep(0.01)
            yield word

    agent = Agent(FunctionModel(stream_function=words))

    async def ask(request: Request) -> Response:
        reply = await VercelAIAdapter.dispatch_request(request, agent=agent)
        return await durable_response(store, reply, session_id=(await request.json())["id"])

    async def resume(request: Request) -> Response:
        return await resume_response(store, session_id=request.path_params["id"])

    async def stop(request: Request) -> Response:
        for stream_id in await store.live_streams(request.path_params["id"]):
            await DurableStream.stop_by_id(store, stream_id)
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/chat", ask, methods=["POST"]),
            Route("/chat/{id}/stream", resume),
            Route("/chat/{id}/stop", stop, methods=["POST"]),
        ]
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_page_of_the_adapter_now_resumes(version: int) -> None:
    asked: list[str] = []
    async with serve(make_app(asked)) as url, running_driver() as driver:
        first = await driver.chat(f"{url}/chat", "c", version)
        await first.begin("sendMessage", {"text": "Hi"})
        shown = await first.wait_text(20)
        await first.call("stop")  # as a page that is closed does: the connection ends, and nothing else
        second = await driver.chat(f"{url}/chat", "c", version, messages=shown["messages"][:1])
        whole = await second.call("resumeStream")
        assert [text_of(message) for message in whole["messages"]] == ["Hi", TEXT]
        assert (whole["status"], whole["error"]) == ("ready", None)
        assert asked == ["asked"]
        nothing = await second.call("resumeStream")  # there is no live reply any more: 204
        assert nothing["messages"] == whole["messages"]
        again = await second.send("Again")
        assert text_of(again["messages"][-1]) == TEXT
