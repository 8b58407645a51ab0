"""A browser's ``EventSource`` reads a reply to its end, over connections that break, and stops there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import async_playwright

from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, SseParser
from tests.demo.conftest import OPTIONS, find_chromium
from tests.support.http import serve
from tests.support.models import ScriptedModel
from tests.support.sources import text_of

from .cuts import make_text
from .proxy import cutting_proxy

END_ID = str(2**53 - 1)
TEXT = make_text("mixed", 6000, 0)
MILLISECONDS = 25

# Reads until the EventSource has closed itself, and long enough after that for twenty further attempts.
FOLLOW = """(url) => new Promise((resolve) => {
  const source = new EventSource(url);
  let text = "";
  let done = 0;
  source.onmessage = ({ data }) => { text += data; };
  source.addEventListener("done", () => { done += 1; });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => resolve({ text, done }), 500);
  };
})"""


class Impatient:
    """The app, behind one that shortens the time to reconnect, and remembers the last ids that requests came with."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.last_ids: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b"<!doctype html>"})
            return
        if scope["path"].endswith("/resume"):
            self.last_ids.append(dict(scope["headers"]).get(b"last-event-id", b"").decode())
        retry = f"retry: {MILLISECONDS}\n\n".encode()

        async def forward(message: Any) -> None:
            nonlocal retry
            if message["type"] == "http.response.body" and message.get("body") and message.get("more_body"):
                message = {**message, "body": retry + message["body"]}
                retry = b""
            await send(message)

        await self._app(scope, receive, forward)


async def in_chromium(url: str) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        page = await browser.new_page()
        await page.goto(url.partition("/__aibind__")[0])
        found: dict[str, Any] = await page.evaluate(FOLLOW, url)
        await browser.close()
        return found


async def in_node(url: str) -> dict[str, Any]:
    script = (
        "const alive = setInterval(() => {}, 1000);"  # its timers keep no process alive
        f"({FOLLOW})({json.dumps(url)})"
        ".then((found) => { console.log(JSON.stringify(found)); clearInterval(alive); })"
    )
    options = ("--experimental-eventsource", "--no-warnings", "--eval", script)
    process = await asyncio.create_subprocess_exec("node", *options, stdout=-1, stderr=-1)
    out, errors = await process.communicate()
    if b"bad option" in errors:
        pytest.skip("this Node has no EventSource: 20.18 has")
    assert process.returncode == 0, errors.decode()
    found: dict[str, Any] = json.loads(out)
    return found


@asynccontextmanager
async def finished_reply() -> AsyncIterator[tuple[str, str, Impatient]]:
    """Serve a reply that has ended; give the server's address, the stream's id, and the app."""
    app = Impatient(create_app(StreamHandler(model=ScriptedModel(TEXT), resumable=True, store=MemoryStreamStore())))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        response = await client.post("/__aibind__/stream", json={"prompt": "hi"})
        yield url, response.headers["x-stream-id"], app


@pytest.mark.browser
@pytest.mark.parametrize("follow", [in_chromium, in_node], ids=["chromium", "node"])
async def test_an_event_source_stops_after_done(follow: Any) -> None:
    async with finished_reply() as (url, stream_id, app), cutting_proxy(url, 3000) as proxy:
        found = await follow(f"{proxy}/__aibind__/stream/resume?id={stream_id}")
    assert found == {"text": TEXT, "done": 1}
    assert len(app.last_ids) > 4, "connections were not cut"
    assert app.last_ids.index(END_ID) == len(app.last_ids) - 1, "it came back once after the end"


async def test_the_last_id_of_an_ended_reply_is_answered_204() -> None:
    async with finished_reply() as (url, stream_id, _), httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        where = {"params": {"id": stream_id}, "headers": {"Last-Event-ID": END_ID}}
        response = await client.get("/__aibind__/stream/resume", **where)  # type: ignore[arg-type]
        assert (response.status_code, response.content) == (204, b"")
        where["params"] = {"id": "unknown"}
        assert (await client.get("/__aibind__/stream/resume", **where)).status_code == 404  # type: ignore[arg-type]
        response = await client.get("/__aibind__/stream/resume", params={"id": stream_id, "after": END_ID})
        assert (response.status_code, [m.event for m in SseParser().feed(response.content)]) == (200, ["done"])


@pytest.mark.parametrize("where", ["header", "query"])
async def test_the_id_of_the_stream_resumes_from_the_beginning(where: str) -> None:
    async with finished_reply() as (url, stream_id, _), httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        for last_id, status in ((stream_id, 200), ("another", 400)):
            query = {"id": stream_id} | ({"after": last_id} if where == "query" else {})
            headers = {"Last-Event-ID": last_id} if where == "header" else {}
            response = await client.get("/__aibind__/stream/resume", params=query, headers=headers)
            assert response.status_code == status
            if status == 200:
                assert text_of(SseParser().feed(response.content)) == TEXT


async def test_an_event_source_of_a_session_reads_the_next_reply_from_its_beginning(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as database:
        await migrate(database)
        conversations, model = SqliteMessageStore(database), ScriptedModel(*"abc", rate=20)
        app = create_app(StreamHandler(model=model, resumable=True, conversations=conversations))
        async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            body = {"prompt": "hi", "sessionId": "s"}
            async with client.stream("POST", "/__aibind__/stream", json=body):
                response = await client.get("/__aibind__/sessions/s/stream", headers={"Last-Event-ID": END_ID})
                assert (response.status_code, text_of(SseParser().feed(response.content))) == (200, "abc")
            response = await client.get("/__aibind__/sessions/s/stream", headers={"Last-Event-ID": END_ID})
            assert response.status_code == 204
