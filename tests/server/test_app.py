"""The ASGI app over real sockets: mounting, limits, CORS, readers who leave."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from aibind.conversations import MemoryConversationStore
from aibind.server import StreamHandler, create_app
from aibind.streams import MemoryStreamStore, SseParser
from tests.support.http import serve
from tests.support.models import ENDLESS, PATIENCE_S, ScriptedModel, until
from tests.support.sources import text_of

WORDS = [f"{number} " for number in range(60)]


def fastapi_at(path: str, app: Any) -> Any:
    outer = FastAPI()
    outer.mount(path, app)
    return outer


MOUNTS = {
    "by itself": lambda app: app,
    "starlette root": lambda app: Starlette(routes=[Mount("/", app=app)]),
    "starlette prefix": lambda app: Starlette(routes=[Mount("/__aibind__", app=app)]),
    "fastapi root": lambda app: fastapi_at("/", app),
    "fastapi prefix": lambda app: fastapi_at("/__aibind__", app),
}


@pytest.mark.parametrize("mount", MOUNTS)
async def test_mounts(mount: str) -> None:
    app = create_app(StreamHandler(model=ScriptedModel("Hello ", "world"), resumable=True))
    async with serve(MOUNTS[mount](app)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.post("/__aibind__/stream", json={"prompt": "hi"})
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        stream_id = response.headers["x-stream-id"]
        assert text_of(SseParser().feed(response.content)) == "Hello world"
        response = await client.get("/__aibind__/stream/resume", params={"id": stream_id, "after": "1"})
        assert text_of(SseParser().feed(response.content)) == "world"
        response = await client.post("/__aibind__/complete", json={"input": "x"})
        assert (response.text, response.headers["content-type"]) == ("Hello world", "text/plain")
        assert (await client.get("/__aibind__/stream")).status_code == 404
        assert (await client.post("/__aibind__/")).status_code == 404
        assert (await client.post("/elsewhere")).status_code == 404


async def test_what_the_client_sends_is_checked() -> None:
    app = create_app(StreamHandler(model=ScriptedModel("x"), resumable=True), max_body_bytes=1000)
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        for body, status in (
            (b"{nope", 400),
            (b"", 400),
            (b"\xff\xfe", 400),
            (b"[" * 500, 400),
            (b'"text"', 400),
            (b'{"prompt": "' + b"x" * 2000 + b'"}', 413),
        ):
            response = await client.post("/stream", content=body)
            assert (response.status_code, list(response.json())) == (status, ["error"])
            assert "Traceback" not in response.text

        async def chunked() -> Any:
            for _ in range(5):
                yield b"x" * 500

        assert (await client.post("/stream", content=chunked())).status_code == 413
        for query, status in (
            ("", 400),
            ("?id=", 400),
            ("?id=nobody", 404),
            ("?id=nobody&after=abc", 400),
            ("?id=nobody&after=-1", 400),
            ("?id=nobody&after=1.5", 400),
            ("?id=nobody&after=99999999999999999999", 400),
            ("?id=nobody&after=٣", 400),
        ):
            response = await client.get("/stream/resume" + query)
            assert (response.status_code, list(response.json())) == (status, ["error"]), query


async def test_a_browser_comes_back_with_its_last_event_id() -> None:
    app = create_app(StreamHandler(model=ScriptedModel("a", "b", "c"), resumable=True))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        stream_id = (await client.post("/stream", json={"prompt": "hi"})).headers["x-stream-id"]
        response = await client.get(
            "/stream/resume", params={"id": stream_id, "after": "0"}, headers={"Last-Event-ID": "2"}
        )
        assert text_of(SseParser().feed(response.content)) == "c"


async def read_some(
    client: httpx2.AsyncClient, method: str, url: str, count: int, **options: Any
) -> tuple[str, str, str]:
    """Read so many messages and cut the connection; return the stream's id, the last id and the text."""
    parser = SseParser()
    seen = []
    async with client.stream(method, url, **options) as response:
        async for data in response.aiter_raw():
            seen += parser.feed(data)
            if len(seen) >= count:
                break
        return response.headers["x-stream-id"], parser.last_event_id, text_of(seen)


async def test_a_reader_who_leaves_and_comes_back() -> None:
    store = MemoryStreamStore()
    conversations = MemoryConversationStore()
    model = ScriptedModel(*WORDS, rate=100)
    app = create_app(StreamHandler(model=model, resumable=True, store=store, conversations=conversations))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        body = {"prompt": "hi", "sessionId": "s"}
        stream_id, last_id, text = await read_some(client, "POST", "/stream", 5, json=body)
        for _ in range(8):
            await asyncio.sleep(0.03)
            url_ = f"/stream/resume?id={stream_id}&after={last_id}"
            _, newest, more = await read_some(client, "GET", url_, 4)
            last_id, text = newest or last_id, text + more
        response = await client.get(f"/stream/resume?id={stream_id}&after={last_id}")
        text += text_of(SseParser().feed(response.content))
        assert text == "".join(WORDS)
        assert model.given == len(WORDS)
        assert (await conversations.load("s")).messages[-1]["content"] == "".join(WORDS)


async def test_a_reader_who_leaves_for_good_does_not_stop_the_reply() -> None:
    store = MemoryStreamStore()
    model = ScriptedModel(*WORDS, rate=200)
    app = create_app(StreamHandler(model=model, resumable=True, store=store))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        stream_id, _, _ = await read_some(client, "POST", "/stream", 3, json={"prompt": "hi"})
        async with asyncio.timeout(PATIENCE_S):
            while (await store.get_status(stream_id)).state == "active":  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        assert (await store.get_status(stream_id)).state == "done"  # type: ignore[union-attr]
        assert model.given == len(WORDS)


async def test_a_reader_who_leaves_a_plain_stream_closes_the_model() -> None:
    model = ScriptedModel(*ENDLESS, rate=200)
    app = create_app(StreamHandler(model=model))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        async with client.stream("POST", "/stream", json={"prompt": "hi"}) as response:
            async for _ in response.aiter_raw():
                break
        await until(lambda: model.closed)
        assert model.given < len(ENDLESS)


async def test_stop_over_http() -> None:
    model = ScriptedModel(*ENDLESS, rate=100)
    app = create_app(StreamHandler(model=model, resumable=True))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False) as client:
        stream_id, _, _ = await read_some(client, "POST", "/stream", 3, json={"prompt": "hi"})
        response = await client.post("/stream/stop", json={"id": stream_id})
        assert response.json() == {"ok": True}
        assert model.closed == 1
        response = await client.get("/stream/resume", params={"id": stream_id})
        assert [message.event for message in SseParser().feed(response.content)][-2:] == ["stopped", "done"]


async def test_cors_is_an_option() -> None:
    handler = StreamHandler(model=ScriptedModel("x"), resumable=True)
    page = {"Origin": "https://app.example"}
    async with serve(create_app(handler)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.post("/__aibind__/stream", json={"prompt": "x"}, headers=page)
        assert "access-control-allow-origin" not in response.headers
    app = create_app(handler, cors_origins=["https://app.example"])
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.post("/__aibind__/stream", json={"prompt": "x"}, headers=page)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-stream-id" in response.headers["access-control-expose-headers"].lower()
        asked = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        response = await client.options("/__aibind__/stream", headers=asked)
        assert response.status_code == 200
        response = await client.post("/__aibind__/stream", json={}, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in response.headers


async def test_lifespan_is_agreed_to() -> None:
    app = create_app(StreamHandler(model=ScriptedModel("x")))
    sent: list[str] = []
    received = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError, match="websocket"):
        await app({"type": "websocket"}, receive, send)


def test_a_prefix_begins_with_a_slash() -> None:
    with pytest.raises(ValueError, match="slash"):
        create_app(StreamHandler(model=ScriptedModel("x")), prefix="api")
