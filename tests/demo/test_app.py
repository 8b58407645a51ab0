"""The demo's app over a real socket in this event loop: what it assembles, what it keeps, and whom it answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.demo.assembly import Demo, open_demo
from aibind.demo.serving import DemoServer
from aibind.models import EchoModel
from aibind.server import StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser


@asynccontextmanager
async def serving(
    database: Path, *, tokens_per_second: float = 0, local: bool = True
) -> AsyncIterator[tuple[httpx2.AsyncClient, DemoServer, Demo]]:
    model = EchoModel(tokens_per_second=tokens_per_second, vary=True)
    async with open_demo(database, model, {"model": "Echo"}, local=local) as demo:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            started = asyncio.Event()
            server = DemoServer(demo, started.set)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            await started.wait()
            base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                async with httpx2.AsyncClient(base_url=base_url, trust_env=False, timeout=60) as client:
                    yield client, server, demo
            finally:
                server.should_exit = True
                await task


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(tmp_path / "chat.db") as (client, _, _):
        yield client


async def ask(client: httpx2.AsyncClient, session_id: str, **body: Any) -> str:
    """Take a turn to its end, and return the text."""
    response = await client.post("/__aibind__/stream", json={"sessionId": session_id, **body})
    assert response.status_code == 200, response.text
    return "".join(message.data for message in SseParser().feed(response.content) if not message.event)


async def view(client: httpx2.AsyncClient, session_id: str) -> dict[str, Any]:
    response = await client.get(f"/__aibind__/sessions/{session_id}")
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def said(opened: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["message"]["role"], each["message"]["content"]) for each in opened["messages"]]


# --- conversations ---


async def test_conversations_are_listed_and_kept_until_they_are_deleted(client: httpx2.AsyncClient) -> None:
    text = await ask(client, "one", prompt="/short   Tell me **about** the tide")
    await ask(client, "two", prompt="/short " + "word " * 40)
    rows = (await client.get("/__aibind__/sessions?live=true")).json()["sessions"]
    assert [row["title"] for row in rows] == [" ".join(["word"] * 12) + " …", "Tell me about the tide"]
    assert [row["liveStream"] for row in rows] == [None, None]
    assert [row["expiresAt"] for row in rows] == [None, None]
    opened = await view(client, "one")
    assert said(opened) == [("user", "/short   Tell me **about** the tide"), ("assistant", text)]


# --- what a killed server leaves ---


async def leave_behind(database: Path, session_id: str, stream_id: str, text: str) -> None:
    """Store what a server that was killed in mid-reply leaves: a question, and some of its stream."""
    async with serving(database) as (client, _, _):
        await ask(client, session_id, prompt="/short Tell me")
    async with wrap_sqlite3(database) as sqlite:
        await migrate(sqlite)
        streams = SqliteStreamStore(sqlite, lease_ms=1)
        await streams.create(stream_id, session_id=session_id)
        if text:
            await streams.append(stream_id, "\x01" + text)
        conversations = SqliteMessageStore(sqlite)
        chat = await conversations.load(session_id)
        chat.append({"role": "user", "content": "And then?"}, {"streamId": stream_id})
        await conversations.save(session_id, chat)


async def test_the_answer_of_a_killed_server_is_put_in_its_place(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "As far as it")
    async with serving(tmp_path / "chat.db") as (client, _, _):
        for _ in range(2):
            opened = await view(client, "s")
            assert said(opened)[2:] == [("user", "And then?"), ("assistant", "As far as it")]
            metadata = opened["messages"][3]["metadata"]
            assert (metadata["streamId"], metadata["finish"]) == ("lost", "error")
        await ask(client, "s", prompt="/short More")
        assert len((await view(client, "s"))["messages"]) == 6


async def test_answers_of_killed_servers_are_saved_before_their_streams_are_swept(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "As far as it")
    async with wrap_sqlite3(tmp_path / "chat.db") as sqlite:
        conversations = SqliteMessageStore(sqlite)
        streams = SqliteStreamStore(sqlite, lease_ms=1)
        handler = StreamHandler(model=EchoModel(), resumable=True, store=streams, conversations=conversations)
        assert await handler.sweep() == 0  # it has ended, and is kept like any other
        answer = (await conversations.load("s")).messages[-1]
        assert (answer["role"], answer["content"]) == ("assistant", "As far as it")


async def test_a_second_server_on_the_same_database_follows_and_stops(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with serving(database, tokens_per_second=100) as (one, _, _), serving(database) as (two, _, _):
        body = {"sessionId": "s", "prompt": "/long 50000 Tell me"}
        async with one.stream("POST", "/__aibind__/stream", json=body) as response:
            stream_id = response.headers["x-stream-id"]
            assert (await view(two, "s"))["liveStream"] == stream_id
            async with two.stream("GET", "/__aibind__/sessions/s/stream") as followed:
                await two.post("/__aibind__/stream/stop", json={"id": stream_id})
                ends = [(await answer.aread()).split(b"event: ")[-2:] for answer in (followed, response)]
        assert ends == [[b"stopped\ndata: \n\n", b"done\nid: 9007199254740991\ndata: \n\n"]] * 2
        opened = await view(two, "s")
        assert opened["liveStream"] is None
        assert opened["messages"][1]["metadata"]["finish"] == "stopped"


async def test_a_question_without_any_answer_says_so(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "")
    async with serving(tmp_path / "chat.db") as (client, _, _):
        opened = await view(client, "s")
        assert (opened["liveStream"], opened["unanswered"], opened["error"]) == (None, "failed", "producer lost")
        await ask(client, "s", regenerate=opened["messages"][-1]["id"])
        opened = await view(client, "s")
        assert opened["unanswered"] is None
        assert len(opened["messages"]) == 4


async def test_shutting_down_keeps_replies_and_does_not_wait_for_readers(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with serving(database, tokens_per_second=100) as (client, server, _):
        body = {"sessionId": "s", "prompt": "/long 50000 Tell me"}
        async with client.stream("POST", "/__aibind__/stream", json=body) as response:
            data = b""
            async for piece in response.aiter_raw():
                data += piece
                if len(data) > 500:
                    server.should_exit = True
        assert data.endswith(
            b"event: error\ndata: The server was shut down\n\nevent: done\nid: 9007199254740991\ndata: \n\n"
        )
    text = "".join(message.data for message in SseParser().feed(data) if not message.event)
    async with serving(database) as (client, _, _):
        answer = (await view(client, "s"))["messages"][1]
        assert answer["message"]["content"] == text
        assert answer["metadata"]["finish"] == "error"
        assert answer["metadata"]["error"] == "The server was shut down"


# --- whom the server answers ---


async def test_the_page_is_told_which_model_answers(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/about")).json() == {"model": "Echo"}


@pytest.mark.parametrize(
    ("path", "kind", "cache"),
    [
        ("/", "text/html", "no-store"),
        ("/c/anything", "text/html", "no-store"),
        ("/c/any%2Fthing", "text/html", "no-store"),
        ("/__aibind__/sessions", "application/json", "no-store"),
        ("/static/app.js", "text/javascript", "no-cache"),
        ("/static/markdown/view.js", "text/javascript", "no-cache"),
        ("/static/vendor/markdown-it/markdown-it.js", "text/javascript", "no-cache"),
        ("/static/css/base.css", "text/css", "no-cache"),
        ("/static/icon.svg", "image/svg+xml", "no-cache"),
        ("/api/about", "application/json", "no-store"),
        ("/__aibind__/stream/resume?id=unknown", "application/json", "no-store"),
        ("/nothing/here", "text/plain", "no-store"),
    ],
)
async def test_headers(client: httpx2.AsyncClient, path: str, kind: str, cache: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-type"].startswith(kind)
    assert headers.get_list("cache-control") == [cache]
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "rebound.example:8765"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "[bad"}, 421),
    ],
)
async def test_other_sites_are_refused(client: httpx2.AsyncClient, headers: dict[str, str], status: int) -> None:
    assert (await client.get("/__aibind__/sessions", headers=headers)).status_code == status


async def test_another_sites_form_is_refused(client: httpx2.AsyncClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Content-Type": "text/plain"}
    response = await client.post("/__aibind__/stream", content=b'{"prompt": "spend money"}', headers=headers)
    assert response.status_code == 403
    assert "may not call this server" in response.text


async def test_a_server_for_everybody_has_any_name_but_still_refuses_other_sites(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", local=False) as (client, _, _):
        own = {"Host": "chat.example", "Origin": "https://chat.example"}
        assert (await client.get("/__aibind__/sessions", headers=own)).status_code == 200
        other = {"Host": "chat.example", "Origin": "https://evil.example"}
        assert (await client.get("/__aibind__/sessions", headers=other)).status_code == 403
