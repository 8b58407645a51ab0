"""Followers of one stream are sent the same bytes objects, in every format and by every app that serves one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from aibind.conversations import MemoryConversationStore
from aibind.models import ModelEvent, ModelRequest, ReasoningDelta, TextDelta
from aibind.protocols import JsonLinesEncoder, PlainTextEncoder, respond
from aibind.server import (
    StreamHandler,
    create_agent_app,
    create_app,
    create_chat_app,
    durable_response,
    resume_response,
)
from aibind.streams import DurableStream, MemoryStreamStore, follow
from tests.support.http import ALL_EVENTS
from tests.support.models import until

FOLLOWERS = 20
WORDS = ("Hm", "One", " two", " three")


class Stepping:
    """Gives each word when it is let."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[None] = asyncio.Queue()

    async def words(self) -> AsyncIterator[str]:
        for word in WORDS:
            await self.steps.get()
            yield word
        await self.steps.get()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        async for word in self.words():
            yield ReasoningDelta(word) if word == WORDS[0] else TextDelta(word)


class Reader:
    """A client of an ASGI app that keeps the very objects that it is sent."""

    def __init__(self, app: Any, method: str, path: str, body: object = None, query: str = "") -> None:
        self.sent: list[bytes] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body: bytes | None = json.dumps(body).encode() if body is not None else b""
        self._leaving = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in ALL_EVENTS.items()],
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    def with_word(self, word: str) -> bytes | None:
        """Return the object that brought a word."""
        return next((data for data in self.sent if word.encode() in data), None)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif body := message["body"]:
            self.sent.append(body)


def handler_of(model: Stepping) -> StreamHandler:
    return StreamHandler(
        model=model, resumable=True, store=MemoryStreamStore(), conversations=MemoryConversationStore()
    )


Ask = Callable[[], Reader]
Follow = Callable[[Reader], Reader]


def own(model: Stepping) -> tuple[Ask, Follow]:
    app = create_app(handler_of(model))
    return (
        lambda: Reader(app, "POST", "/__aibind__/stream", {"prompt": "hi"}),
        lambda asked: Reader(app, "GET", "/__aibind__/stream/resume", query=f"id={asked.headers['x-stream-id']}"),
    )


def ai_sdk(model: Stepping) -> tuple[Ask, Follow]:
    app = create_chat_app(handler_of(model))
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    return (
        lambda: Reader(app, "POST", "/api/chat", {"id": "c1", "messages": [message]}),
        lambda _: Reader(app, "GET", "/api/chat/c1/stream"),
    )


def ag_ui(model: Stepping) -> tuple[Ask, Follow]:
    app = create_agent_app(handler_of(model))
    message = {"id": "m1", "role": "user", "content": "hi"}
    run = {"threadId": "t1", "runId": "r1", "messages": [message], "tools": [], "context": []}
    return (
        lambda: Reader(app, "POST", "/agent", run),
        lambda _: Reader(app, "POST", "/agent/connect", {"threadId": "t1"}),
    )


def route(model: Stepping, make_encoder: Callable[[], Any]) -> tuple[Ask, Follow]:
    store = MemoryStreamStore()

    async def answer(request: Request) -> Response:
        if request.method == "POST":
            await DurableStream.create(store, model.words(), stream_id="s1")
        response = respond(await follow(store, "s1"), make_encoder())
        return StreamingResponse(response.body, response.status, response.headers)

    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    return lambda: Reader(app, "POST", "/"), lambda _: Reader(app, "GET", "/")


def durable_route(model: Stepping) -> tuple[Ask, Follow]:
    store = MemoryStreamStore()

    async def answer() -> AsyncIterator[str]:
        async for word in model.words():
            yield f"data: {word}\n\n"

    async def respond_to(request: Request) -> Response:
        return await (
            durable_response(store, answer(), id="s1") if request.method == "POST" else resume_response(store, "s1")
        )

    app = Starlette(routes=[Route("/", respond_to, methods=["GET", "POST"])])
    return lambda: Reader(app, "POST", "/"), lambda _: Reader(app, "GET", "/")


APPS: dict[str, Callable[[Stepping], tuple[Ask, Follow]]] = {
    "create_app": own,
    "create_chat_app": ai_sdk,
    "create_agent_app": ag_ui,
    "JSON lines": lambda model: route(model, JsonLinesEncoder),
    "plain text": lambda model: route(model, PlainTextEncoder),
    "durable_response": durable_route,
}


@pytest.mark.parametrize("name", APPS)
async def test_each_word_is_encoded_once_for_all_followers(name: str) -> None:
    model = Stepping()
    ask, follow_it = APPS[name](model)
    first = ask()
    await until(lambda: first.status)
    early = [follow_it(first) for _ in range(FOLLOWERS)]
    await until(lambda: all(reader.status for reader in early))
    await give(model, WORDS[0], early)
    await give(model, WORDS[1], early)
    late = [follow_it(first) for _ in range(FOLLOWERS)]
    await until(lambda: all(reader.with_word(WORDS[1]) for reader in late))
    await give(model, WORDS[2], early + late)
    await give(model, WORDS[3], early + late)
    model.steps.put_nowait(None)
    await asyncio.wait_for(asyncio.gather(*(reader.task for reader in (first, *early, *late))), 10)
    assert first.status == 200
    for word, readers in ((0, early), (1, early), (2, early + late), (3, early + late)):
        assert len({id(reader.with_word(WORDS[word])) for reader in readers}) == 1, WORDS[word]


async def give(model: Stepping, word: str, readers: list[Reader]) -> None:
    """Let the model give a word, and wait until all have it."""
    model.steps.put_nowait(None)
    await until(lambda: all(reader.with_word(word) for reader in readers))
