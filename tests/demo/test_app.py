"""The demo's own API and its headers, over a real socket in this event loop."""

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
from aibind.demo.catalogue import Catalogue, ListedConversations
from aibind.demo.chats import Chats
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


async def view(client: httpx2.AsyncClient, session_id: str, **params: Any) -> dict[str, Any]:
    response = await client.get(f"/api/conversations/{session_id}", params=params)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


async def listed(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = (await client.get("/api/conversations")).json()["conversations"]
    return result


# --- conversations ---


async def test_a_conversation_is_listed_with_its_first_words(client: httpx2.AsyncClient) -> None:
    first = (await client.post("/api/conversations", json={})).json()["id"]
    second = (await client.post("/api/conversations", json={})).json()["id"]
    assert first != second
    assert await listed(client) == []  # an empty one is not kept
    text = await ask(client, first, prompt="/short   Tell me **about** the tide")
    await ask(client, second, prompt="/short " + "word " * 40)
    rows = await listed(client)
    assert [row["title"] for row in rows] == [" ".join(["word"] * 12) + " …", "Tell me about the tide"]
    assert [row["live"] for row in rows] == [None, None]

    opened = await view(client, first)
    assert opened["title"] == "Tell me about the tide"
    assert (opened["live"], opened["unanswered"], opened["earlier"]) == (None, None, 0)
    question, answer = opened["messages"]
    assert (question["role"], question["content"]) == ("user", "/short   Tell me **about** the tide")
    assert (answer["role"], answer["content"]) == ("assistant", text)
    assert "html" not in answer  # the page renders what was said
    assert answer["details"]["usage"]["outputTokens"] > 0
    assert answer["alternatives"] == {"index": 0, "count": 1}
    assert (await view(client, first, limit=1))["earlier"] == 1

    await ask(client, first, prompt="/short Again")  # moves it to the top
    assert [row["id"] for row in await listed(client)] == [first, second]


async def test_reasoning_and_tools_come_with_the_answer(client: httpx2.AsyncClient) -> None:
    await ask(client, "s", prompt="/think What is it?")
    await ask(client, "s", prompt="/tools What time is it?")
    messages = (await view(client, "s"))["messages"]
    assert "The user says" in messages[1]["details"]["reasoning"]
    (call,) = messages[3]["details"]["tools"]
    assert (call["event"], call["name"], call["args"]) == ("tool_call", "echo", {"text": "/tools What time is it?"})


async def test_alternatives_are_walked_through(client: httpx2.AsyncClient) -> None:
    first = await ask(client, "s", prompt="/short Tell me")
    answer = (await view(client, "s"))["messages"][1]["id"]
    second = await ask(client, "s", regenerate=answer)
    shown = (await view(client, "s"))["messages"][1]
    assert (shown["content"], shown["alternatives"]) == (second, {"index": 1, "count": 2})
    url = "/api/conversations/s/select"
    back = (await client.post(url, json={"message": shown["id"], "step": -1})).json()
    assert back["messages"][1]["content"] == first
    assert back["messages"][1]["alternatives"] == {"index": 0, "count": 2}
    same = (await client.post(url, json={"message": answer, "step": -1})).json()
    assert same["messages"] == back["messages"]  # there is none before the first
    forth = (await client.post(url, json={"message": answer, "step": 1})).json()
    assert forth["messages"][1]["content"] == second


async def test_rename_and_delete(client: httpx2.AsyncClient) -> None:
    await ask(client, "s", prompt="/short Tell me")
    assert (await client.patch("/api/conversations/s", json={"title": "  A\n new  name "})).json() == {"ok": True}
    assert [row["title"] for row in await listed(client)] == ["A new name"]
    await ask(client, "s", prompt="/short More")
    assert (await view(client, "s"))["title"] == "A new name"
    assert (await client.delete("/api/conversations/s")).json() == {"ok": True}
    assert await listed(client) == []
    assert (await client.get("/api/conversations/s")).status_code == 404
    assert (await client.delete("/api/conversations/s")).status_code == 200  # and once more does nothing


async def test_a_live_stream_is_told_and_deleting_stops_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", tokens_per_second=100) as (client, _, demo):
        body = {"sessionId": "s", "prompt": "/long 50000 Tell me"}
        async with client.stream("POST", "/__aibind__/stream", json=body) as response:
            stream_id = response.headers["x-stream-id"]
            opened = await view(client, "s")
            assert opened["live"] == stream_id
            assert [message["role"] for message in opened["messages"]] == ["user"]
            assert (await listed(client))[0]["live"] == stream_id
            select = {"message": opened["messages"][0]["id"], "step": 1}
            assert (await client.post("/api/conversations/s/select", json=select)).status_code == 409
            assert (await client.delete("/api/conversations/s")).status_code == 200
            assert b"event: stopped" in await response.aread()
        assert demo.handler.live_stream("s") is None
        assert await listed(client) == []


async def test_deleting_stops_every_reply_of_a_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", tokens_per_second=100) as (client, _, demo):
        bodies = [{"sessionId": "s", "prompt": f"/long 50000 Tell me {number}"} for number in range(3)]
        replies = [await demo.handler.stream(body) for body in bodies]
        assert (await client.delete("/api/conversations/s")).status_code == 200
        for reply in replies:
            assert not isinstance(reply.body, bytes)
            assert b"event: stopped" in b"".join([data async for data in reply.body])
        assert demo.handler.live_stream("s") is None
        assert await listed(client) == []  # none of them has brought it back


async def test_half_a_character_is_shown_as_what_it_is_not(client: httpx2.AsyncClient) -> None:
    body = b'{"sessionId": "s", "prompt": "/short \\ud800 \xed\xa0\x80 Half"}'
    response = await client.post("/__aibind__/stream", content=body)
    assert response.status_code == 200
    assert b"event: error" not in response.content
    messages = (await view(client, "s"))["messages"]
    assert messages[0]["content"] == "/short ? ? Half"
    assert [row["title"] for row in await listed(client)] == ["? ? Half"]
    renamed = await client.patch("/api/conversations/s", content=b'{"title": "\\ud800"}')
    assert renamed.json() == {"ok": True}


async def test_a_failed_turn_tells_why(client: httpx2.AsyncClient) -> None:
    await ask(client, "s", prompt="/fail Tell me")
    answer = (await view(client, "s"))["messages"][1]
    assert answer["metadata"]["finish"] == "error"
    assert "asked for it with /fail" in answer["details"]["error"]


# --- what a killed server leaves ---


async def leave_behind(database: Path, session_id: str, stream_id: str, text: str) -> None:
    """Store what a server that was killed in mid-reply leaves: a question, and some of its stream."""
    async with serving(database) as (client, _, _):
        await ask(client, session_id, prompt="/short Tell me")
    async with wrap_sqlite3(database) as sqlite:
        await migrate(sqlite)
        streams = SqliteStreamStore(sqlite, lease_ms=1)
        await streams.create(stream_id)
        if text:
            await streams.append(stream_id, "\x01" + text)
        conversations = SqliteMessageStore(sqlite)
        chat = await conversations.load(session_id)
        chat.append({"role": "user", "content": "And then?"}, {"streamId": stream_id})
        await conversations.save(session_id, chat)
        await sqlite.execute("UPDATE aibind_demo_conversations SET pending = ?", [stream_id])


async def test_the_answer_of_a_killed_server_is_put_in_its_place(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "As far as it")
    async with serving(tmp_path / "chat.db") as (client, _, _):
        for _ in range(2):
            messages = (await view(client, "s"))["messages"]
            assert len(messages) == 4
            assert messages[3]["content"] == "As far as it"
            assert messages[3]["metadata"] == {"streamId": "lost", "finish": "error"}
            assert messages[3]["details"]["error"] == "producer lost"
        await ask(client, "s", prompt="/short More")
        assert len((await view(client, "s"))["messages"]) == 6


async def test_answers_of_killed_servers_are_saved_before_their_streams_are_swept(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "As far as it")
    async with wrap_sqlite3(tmp_path / "chat.db") as sqlite:
        stored = SqliteMessageStore(sqlite)
        catalogue = Catalogue(sqlite)
        conversations = ListedConversations(stored, catalogue)
        streams = SqliteStreamStore(sqlite)
        handler = StreamHandler(model=EchoModel(), resumable=True, store=streams, conversations=conversations)
        assert await catalogue.waiting() == ["s"]
        await Chats(handler, streams, conversations, catalogue).recover()
        assert await catalogue.waiting() == []
        assert (await stored.load("s")).messages[-1] == {"role": "assistant", "content": "As far as it"}


async def test_a_conversation_that_was_left_at_a_question_is_opened_at_its_newest_answer(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db") as (client, _, _):
        await ask(client, "s", prompt="/short Tell me")
        before = (await view(client, "s"))["messages"]
        async with wrap_sqlite3(tmp_path / "chat.db") as sqlite:
            conversations = SqliteMessageStore(sqlite)
            chat = await conversations.load("s")
            chat.tree.set_active_leaf(chat.node_ids[0])
            await conversations.save("s", chat)
            opened = await view(client, "s")
            assert (opened["messages"], opened["live"], opened["unanswered"]) == (before, None, None)
            assert (await conversations.load("s")).messages[-1]["role"] == "assistant"


async def test_a_second_server_on_the_same_database_follows_and_stops(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with serving(database, tokens_per_second=100) as (one, _, _), serving(database) as (two, _, _):
        body = {"sessionId": "s", "prompt": "/long 50000 Tell me"}
        async with one.stream("POST", "/__aibind__/stream", json=body) as response:
            stream_id = response.headers["x-stream-id"]
            assert (await view(two, "s"))["live"] == stream_id
            resume = f"/__aibind__/stream/resume?id={stream_id}&after=0"
            async with two.stream("GET", resume) as followed:
                await two.post("/__aibind__/stream/stop", json={"id": stream_id})
                ends = [(await answer.aread()).split(b"event: ")[-2:] for answer in (followed, response)]
        assert ends == [[b"stopped\ndata: \n\n", b"done\ndata: \n\n"]] * 2
        opened = await view(two, "s")
        assert opened["live"] is None
        assert opened["messages"][1]["metadata"]["finish"] == "stopped"


async def test_a_question_without_any_answer_says_so(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "chat.db", "s", "lost", "")
    async with serving(tmp_path / "chat.db") as (client, _, _):
        opened = await view(client, "s")
        assert (opened["live"], opened["unanswered"]) == (None, "producer lost")
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
        assert data.endswith(b"event: error\ndata: The server was shut down\n\nevent: done\ndata: \n\n")
    text = "".join(message.data for message in SseParser().feed(data) if not message.event)
    async with serving(database) as (client, _, _):
        answer = (await view(client, "s"))["messages"][1]
        assert answer["content"] == text
        assert answer["details"]["error"] == "The server was shut down"


# --- requests that are wrong, and whom the server answers ---


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/api/conversations/unknown", None, 404, "does not exist any more"),
        ("GET", "/api/conversations/unknown?limit=x", None, 400, "limit"),
        ("PATCH", "/api/conversations/unknown", {"title": "x"}, 404, "does not exist any more"),
        ("PATCH", "/api/conversations/unknown", {"title": " "}, 400, "1 to 120"),
        ("PATCH", "/api/conversations/unknown", {"title": "x" * 121}, 400, "1 to 120"),
        ("PATCH", "/api/conversations/unknown", {"title": 1}, 400, "title must be a string"),
        ("PATCH", "/api/conversations/unknown", ["title"], 400, "JSON object"),
        ("POST", "/api/conversations/unknown/select", {"message": "x", "step": 2}, 400, "step"),
        ("POST", "/api/conversations/unknown/select", {"message": "x", "step": 1}, 404, "no such message"),
        ("PATCH", "/api/conversations/unknown", {}, 400, "title must be a string"),
        ("PATCH", "/api/conversations/unknown", {"title": "x" * (4 * 1024 * 1024)}, 413, "larger than"),
    ],
)
async def test_wrong_requests_are_explained(
    client: httpx2.AsyncClient, method: str, path: str, body: Any, status: int, says: str
) -> None:
    response = await client.request(method, path, json=body)
    assert response.status_code == status
    assert says in response.json()["error"]


async def test_a_body_that_is_not_json_is_explained(client: httpx2.AsyncClient) -> None:
    response = await client.patch("/api/conversations/unknown", content=b"{")
    assert (response.status_code, response.json()) == (400, {"error": "The body is not valid JSON"})


@pytest.mark.parametrize(
    ("path", "kind", "cache"),
    [
        ("/", "text/html", "no-store"),
        ("/c/anything", "text/html", "no-store"),
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
        ({"Host": "rebound.example:8765"}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "[bad"}, 403),
    ],
)
async def test_other_sites_are_refused(client: httpx2.AsyncClient, headers: dict[str, str], status: int) -> None:
    assert (await client.get("/api/conversations", headers=headers)).status_code == status


async def test_another_sites_form_is_refused(client: httpx2.AsyncClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Content-Type": "text/plain"}
    response = await client.post("/__aibind__/stream", content=b'{"prompt": "spend money"}', headers=headers)
    assert response.status_code == 403
    assert response.text == "Another site's page may not call this server"


async def test_a_server_for_everybody_has_any_name_but_still_refuses_other_sites(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", local=False) as (client, _, _):
        own = {"Host": "chat.example", "Origin": "https://chat.example"}
        assert (await client.get("/api/conversations", headers=own)).status_code == 200
        other = {"Host": "chat.example", "Origin": "https://evil.example"}
        assert (await client.get("/api/conversations", headers=other)).status_code == 403
