"""Shutting down: what is refused, what may end by itself, what is kept, and when."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import RequestError
from aibind.server import Endpoints, HttpResponse, StreamHandler, create_app
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseMessage, SseParser
from tests.support.http import serve
from tests.support.models import ENDLESS, GatedModel, ScriptedModel
from tests.support.sources import read_all, text_of

LONG_S = 60.0
MESSAGES = [{"role": "user", "content": "hi"}]
NEW = {
    "stream": {"prompt": "new"},
    "structured": {"prompt": "new"},
    "chat": {"messages": MESSAGES},
    "complete": {"input": "new"},
    "title": {"messages": MESSAGES},
    "compact": {"messages": MESSAGES},
}


async def post(handler: StreamHandler, endpoint: str, body: Any, **headers: str) -> HttpResponse[Any]:
    async def read_body() -> bytes:
        return json.dumps(body).encode()

    return await Endpoints(handler).answer("POST", f"/__aibind__/{endpoint}", "", headers, read_body)


async def begin_to_close(handler: StreamHandler, grace_s: float) -> asyncio.Task[None]:
    closing = asyncio.create_task(handler.aclose(grace_s=grace_s))
    await asyncio.sleep(0.01)
    return closing


async def test_replies_end_within_the_grace_while_new_ones_are_refused() -> None:
    model = GatedModel()
    conversations = MemoryConversationStore()
    handler = StreamHandler(model=model, resumable=True, conversations=conversations)
    reply = await handler.stream({"prompt": "hi", "sessionId": "s", "requestId": "once"})
    closing = await begin_to_close(handler, LONG_S)
    for endpoint, body in NEW.items():
        refused = await post(handler, endpoint, body)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1"), endpoint
        assert json.loads(refused.body) == {"error": "The server was shut down"}
    resumed = await handler.resume(reply.headers["X-Stream-Id"], "0")
    again = await post(handler, "stream", {"prompt": "hi", "sessionId": "s", "requestId": "once"})
    assert again.status == 200
    assert not closing.done()
    model.gate.set()
    async with asyncio.timeout(10):
        for one in (reply, resumed, again):
            assert text_of(await read_all(one.body)) == "re: hi"  # type: ignore[arg-type]
        await closing
    assert [message["content"] for message in (await conversations.load("s")).messages] == ["hi", "re: hi"]


async def test_what_is_left_after_the_grace_is_kept() -> None:
    conversations = MemoryConversationStore()
    model = ScriptedModel(*ENDLESS, rate=200)
    handler = StreamHandler(model=model, resumable=True, conversations=conversations)
    reply = await handler.stream({"prompt": "hi", "sessionId": "s"})
    await handler.aclose(grace_s=0.3)
    messages = await read_all(reply.body)  # type: ignore[arg-type]
    assert [(each.event, each.data) for each in messages[-2:]] == [("error", "The server was shut down"), ("done", "")]
    assert model.given > 20
    assert (await conversations.load("s")).messages[-1]["content"] == text_of(messages)
    with pytest.raises(RequestError) as refused:
        await handler.stream({"prompt": "too late"})
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})


async def test_the_shortest_grace_counts() -> None:
    handler = StreamHandler(model=GatedModel(), resumable=True)
    await handler.stream({"prompt": "hi"})
    closing = await begin_to_close(handler, LONG_S)
    async with asyncio.timeout(10):
        await handler.aclose()
        await closing
    async with asyncio.timeout(10):
        await handler.aclose(grace_s=LONG_S)


async def test_a_reply_that_is_not_resumable_has_the_grace_too() -> None:
    model = GatedModel()
    handler = StreamHandler(model=model)
    reply = await handler.stream({"prompt": "hi"})
    reading = asyncio.create_task(read_all(reply.body))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    closing = await begin_to_close(handler, LONG_S)
    assert (await post(handler, "stream", {"prompt": "new"})).status == 503
    assert not closing.done()
    model.gate.set()
    async with asyncio.timeout(10):
        await closing
        assert text_of(await reading) == "re: hi"


async def test_readers_are_sent_on_when_all_is_over(tmp_path: Path) -> None:
    """A reader of another process's reply gets a whole answer without an end, and resumes elsewhere."""
    async with wrap_sqlite3(tmp_path / "chat.db") as mine, wrap_sqlite3(tmp_path / "chat.db") as other:
        await migrate(mine)
        producer = StreamHandler(model=ScriptedModel(*ENDLESS, rate=100), resumable=True, store=SqliteStreamStore(mine))
        server = StreamHandler(model=GatedModel(), resumable=True, store=SqliteStreamStore(other))
        stream_id = (await producer.stream({"prompt": "hi"})).headers["X-Stream-Id"]
        async with serve(create_app(server)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            where = {"id": stream_id, "after": "0"}
            async with client.stream("GET", "/__aibind__/stream/resume", params=where) as response:
                parser, messages = SseParser(), list[SseMessage]()
                async for data in response.aiter_raw():  # which ends without an error: the answer is whole
                    if not messages:
                        closing = asyncio.create_task(server.aclose())
                    messages += parser.feed(data)
            await closing
            assert messages
            assert [each.event for each in messages if each.event] == []
            late = await client.get("/__aibind__/stream/resume", params=where)
            assert late.status_code == 200
            assert b"event: done" not in late.content
        await producer.aclose()


async def test_a_server_that_is_told_to_end_shuts_the_handler_down() -> None:
    """The server's own handling of the signal goes on, and is restored."""
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        here = signal.getsignal(signal.SIGTERM)
        model = GatedModel()
        handler = StreamHandler(model=model, resumable=True)
        async with handler.running(grace_s=LONG_S) as entered:
            assert entered is handler
            await handler.stream({"prompt": "hi"})
            signal.raise_signal(signal.SIGTERM)
            assert told == [signal.SIGTERM]
            await asyncio.sleep(0.01)
            assert (await post(handler, "stream", {"prompt": "new"})).status == 503
            model.gate.set()
        assert signal.getsignal(signal.SIGTERM) is here
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_an_interrupt_grants_no_grace() -> None:
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        handler = StreamHandler(model=GatedModel(), resumable=True)
        async with asyncio.timeout(10), handler.running(grace_s=LONG_S):
            reply = await handler.stream({"prompt": "hi"})
            signal.raise_signal(signal.SIGINT)
            messages = await read_all(reply.body)  # type: ignore[arg-type]
        assert messages[-2].data == "The server was shut down"
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_signal_that_the_server_does_not_handle_keeps_its_effect() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    async with StreamHandler(model=GatedModel(), resumable=True).running():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_another_thread_runs_a_handler_without_signals() -> None:
    async def run() -> None:
        async with StreamHandler(model=GatedModel(), resumable=True).running():
            pass

    await asyncio.to_thread(asyncio.run, run())


async def test_leaving_shuts_down_without_a_signal() -> None:
    handler = StreamHandler(model=ScriptedModel("all"), resumable=True)
    async with handler.running(grace_s=LONG_S):
        reply = await handler.stream({"prompt": "hi"})
    assert text_of(await read_all(reply.body)) == "all"  # type: ignore[arg-type]
