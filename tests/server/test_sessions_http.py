"""Stored sessions over real sockets: every endpoint, every status, and ids of any character."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from aibind.conversations import MemoryConversationStore
from aibind.errors import ConversationConflictError, ModelError
from aibind.history import ChatHistory
from aibind.server import Endpoints, StreamHandler, create_app
from aibind.server.requests import StreamBody
from aibind.server.session_titles import title_of
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser
from tests.support.http import serve
from tests.support.models import ENDLESS, PATIENCE_S, GatedModel, ScriptedModel, until
from tests.support.sources import text_of


@dataclass
class Rig:
    """A served handler: a client of it, and what it stores in."""

    client: httpx2.AsyncClient
    handler: StreamHandler
    streams: SqliteStreamStore
    conversations: SqliteMessageStore

    async def ask(self, session_id: str, prompt: str, **body: Any) -> str:
        response = await self.client.post("/stream", json={"prompt": prompt, "sessionId": session_id, **body})
        assert response.status_code == 200, response.text
        return text_of(SseParser().feed(response.content))

    async def page(self, session_id: str, **params: Any) -> dict[str, Any]:
        response = await self.client.get(path_of(session_id), params=params)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def listed(self, **params: Any) -> dict[str, Any]:
        response = await self.client.get("/sessions", params=params)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


def path_of(session_id: str) -> str:
    return f"/sessions/{quote(session_id, safe='')}"


@asynccontextmanager
async def serving(database: Path, model: Any, *, lease_ms: int = 30_000, mounted: bool = False) -> AsyncIterator[Rig]:
    async with wrap_sqlite3(database) as client:
        await migrate(client)
        streams, conversations = SqliteStreamStore(client, lease_ms=lease_ms), SqliteMessageStore(client)
        handler = StreamHandler(model=model, resumable=True, store=streams, conversations=conversations)
        app: Any = create_app(handler, max_body_bytes=100_000)
        if mounted:
            app = Starlette(routes=[Mount("/__aibind__", app=app)])
        async with (
            serve(app) as url,
            httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False, timeout=PATIENCE_S) as http,
        ):
            yield Rig(http, handler, streams, conversations)
            await handler.aclose()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(tmp_path / "chat.db", ScriptedModel("An ", "answer")) as rig:
        yield rig


def contents(page: dict[str, Any]) -> list[str]:
    return [message["message"]["content"] for message in page["messages"]]


# --- the list ---


async def test_sessions_are_listed_newest_first_with_titles(rig: Rig) -> None:
    assert await rig.listed() == {"sessions": [], "before": None}
    await rig.ask("one", "/short   Tell me **about** `the` tide")
    await rig.ask("two", "word " * 40)
    await rig.ask("one", "More")
    rows = (await rig.listed())["sessions"]
    assert [row["id"] for row in rows] == ["one", "two"]
    assert [row["title"] for row in rows] == ["Tell me about the tide", " ".join(["word"] * 12) + " …"]
    first = rows[0]
    assert sorted(first) == ["activeLeafId", "createdAt", "expiresAt", "id", "revision", "title", "updatedAt"]
    assert first["expiresAt"] is None
    assert first["createdAt"] < first["updatedAt"]
    assert first["activeLeafId"] == (await rig.page("one"))["messages"][-1]["id"]


async def test_the_list_has_pages(rig: Rig) -> None:
    for number in range(5):
        await rig.ask(f"s{number}", "Hi")
    found: list[str] = []
    before = None
    while True:
        page = await rig.listed(limit=2, **({} if before is None else {"before": before}))
        found += [row["id"] for row in page["sessions"]]
        if (before := page["before"]) is None:
            break
        assert len(page["sessions"]) == 2
    assert found == ["s4", "s3", "s2", "s1", "s0"]
    exact = await rig.listed(limit=5)
    assert exact["before"] is None


async def test_the_list_says_where_a_reply_is_under_way(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel(*ENDLESS, rate=100)) as rig:
        response = await rig.handler.stream({"prompt": "Hi", "sessionId": "live"})
        await rig.conversations.save("quiet", ChatHistory())
        rows = (await rig.listed(live="true"))["sessions"]
        live = {row["id"]: row["liveStream"] for row in rows}
        assert live == {"live": response.headers["X-Stream-Id"], "quiet": None}
        assert "liveStream" not in (await rig.listed())["sessions"][0]


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Hello", "Hello"),
        ("/long 200 # Heading\n\n> *quoted*", "Heading quoted"),
        ("/help", "/help"),
        ("x" * 100, "x" * 59 + "…"),
        ("\ud800 half", "? half"),
        (" \n ", None),
        ("**", None),
        ("#" * 100_000 + " far", None),
    ],
)
def test_titles(prompt: str, title: str | None) -> None:
    assert title_of(prompt) == title


# --- one session ---


async def test_a_session_is_read_page_by_page(rig: Rig) -> None:
    for number in range(3):
        await rig.ask("s", f"Question {number}")
    page = await rig.page("s", limit=4)
    assert contents(page) == ["Question 1", "An answer", "Question 2", "An answer"]
    question = page["messages"][0]
    assert sorted(question) == ["alternatives", "createdAt", "id", "message", "metadata", "parentId", "replaces"]
    assert question["alternatives"] == [question["id"]]
    assert question["createdAt"].endswith("Z")
    assert page["messages"][1]["parentId"] == question["id"]
    assert (page["liveStream"], page["unanswered"], page["error"]) == (None, None, None)
    older = await rig.page("s", limit=4, before=page["before"])
    assert contents(older) == ["Question 0", "An answer"]
    assert older["before"] is None
    assert contents(await rig.page("s", before="no such message")) == []


async def test_the_tag_changes_with_the_page_and_with_nothing_else(rig: Rig) -> None:
    await rig.ask("s", "Hi")

    async def tag_after(known: str) -> str:
        response = await rig.client.get("/sessions/s", headers={"If-None-Match": known})
        if response.status_code == 304:
            assert response.content == b""
            assert response.headers["etag"] == known
        else:
            assert response.status_code == 200
            assert response.headers["cache-control"] == "private, no-cache"
        return str(response.headers["etag"])

    first = await tag_after("")
    assert await tag_after(first) == first
    for header in (f'W/{first}, "other"', "*"):
        response = await rig.client.get("/sessions/s", headers={"If-None-Match": header})
        assert response.status_code == 304
    await rig.client.patch("/sessions/s", json={"title": "Another"})
    second = await tag_after(first)
    await rig.ask("s", "More")
    third = await tag_after(second)
    await rig.client.delete("/sessions/s")
    await rig.ask("s", "Again")
    fourth = await tag_after(third)
    assert len({first, second, third, fourth}) == 4


async def test_the_tag_changes_with_the_live_reply(tmp_path: Path) -> None:
    model = GatedModel()
    model.gate.set()
    async with serving(tmp_path / "chat.db", model) as rig:
        await rig.ask("s", "Hi")
        page = await rig.client.get("/sessions/s")
        model.gate.clear()
        # Another answer to the same question: nothing is stored before it ends.
        answer = page.json()["messages"][1]["id"]
        body = {"sessionId": "s", "regenerate": answer}
        async with rig.client.stream("POST", "/stream", json=body) as response:
            during = await rig.client.get("/sessions/s", headers={"If-None-Match": page.headers["etag"]})
            assert during.status_code == 200
            assert during.json()["liveStream"] == response.headers["x-stream-id"]
            assert during.json()["revision"] == page.json()["revision"]
            model.gate.set()
            await response.aread()
        after = await rig.client.get("/sessions/s", headers={"If-None-Match": during.headers["etag"]})
        assert (after.status_code, after.json()["liveStream"]) == (200, None)


async def test_a_question_without_an_answer_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", GatedModel()) as rig:
        chat = ChatHistory()
        chat.append({"role": "user", "content": "Hi"})
        await rig.conversations.save("no stream", chat)
        chat = ChatHistory()
        chat.append({"role": "user", "content": "Hi"}, {"streamId": "swept"})
        await rig.conversations.save("expired", chat)
        for reason in ("no stream", "expired"):
            page = await rig.page(reason)
            assert (page["unanswered"], page["error"], page["liveStream"]) == (reason, None, None)

        async with rig.client.stream("POST", "/stream", json={"prompt": "Hi", "sessionId": "s"}) as response:
            await rig.client.post("/stream/stop", json={"id": response.headers["x-stream-id"]})
            await response.aread()
        page = await rig.page("s")
        assert (page["unanswered"], page["error"], contents(page)) == ("stopped", None, ["Hi"])


async def test_a_lost_answer_is_put_in_its_place_when_the_session_is_opened(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", GatedModel(), lease_ms=100) as rig:
        chat = ChatHistory()
        chat.append({"role": "user", "content": "Hi"}, {"streamId": "lost"})
        await rig.conversations.save("s", chat)
        await rig.streams.create("lost", session_id="s")
        await rig.streams.append("lost", "\x01As far as it came")
        page = await rig.page("s")
        assert (page["liveStream"], contents(page)) == ("lost", ["Hi"])
        await asyncio.sleep(0.12)
        for _ in range(2):
            page = await rig.page("s")
            assert (page["liveStream"], contents(page)) == (None, ["Hi", "As far as it came"])


async def test_a_turn_that_was_lost_between_its_rounds_is_completed(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", GatedModel(), lease_ms=100) as rig:
        call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
        rounds: list[dict[str, Any]] = [
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "name": "clock", "content": "12"},
        ]
        chat = ChatHistory()
        for message in rounds:
            chat.append(message, {"streamId": "lost"})
        await rig.conversations.save("s", chat)
        await rig.streams.create("lost", session_id="s")
        called = 'tool_call\x01{"id":"c","name":"clock","args":{}}'
        answered = 'tool_result\x01{"id":"c","name":"clock","result":12}'
        await rig.streams.append_many("lost", [called, answered, "\x01It is noon"])
        await asyncio.sleep(0.12)
        page = await rig.page("s")
        assert [each["message"]["role"] for each in page["messages"]] == ["user", "assistant", "tool", "assistant"]
        assert page["messages"][-1]["message"]["content"] == "It is noon"
        assert (page["liveStream"], page["unanswered"]) == (None, None)


async def test_a_session_that_was_left_at_an_answered_question_shows_its_newest_answer(rig: Rig) -> None:
    await rig.ask("s", "Hi")
    before = await rig.page("s")
    await rig.client.post("/stream", json={"sessionId": "s", "regenerate": before["messages"][1]["id"]})
    newest = (await rig.page("s"))["messages"][1]["id"]
    chat = await rig.conversations.load("s")
    chat.tree.set_active_leaf(before["messages"][0]["id"])
    await rig.conversations.save("s", chat)
    page = await rig.page("s")
    assert page["messages"][1]["id"] == newest
    assert page["messages"][1]["alternatives"] == [before["messages"][1]["id"], newest]


# --- changing ---


async def test_a_title_is_changed_and_taken_away(rig: Rig) -> None:
    await rig.ask("s", "Hi")
    response = await rig.client.patch("/sessions/s", json={"title": "  A\n new  name "})
    assert (response.status_code, response.json()["title"]) == (200, "A new name")
    assert response.headers["etag"] == (await rig.client.get("/sessions/s")).headers["etag"]
    await rig.ask("s", "More")
    assert (await rig.page("s"))["title"] == "A new name"
    assert (await rig.client.patch("/sessions/s", json={"title": None})).json()["title"] is None
    response = await rig.client.patch("/sessions/s", content=b'{"title": "\\ud800"}')
    assert response.json()["title"] == "?"


async def test_the_title_that_a_model_suggests_is_stored(rig: Rig) -> None:
    await rig.ask("s", "Hi")
    body = {"messages": [{"role": "user", "content": "Hi"}], "sessionId": "s"}
    response = await rig.client.post("/title", json=body)
    assert response.text == "An answer"
    assert (await rig.page("s"))["title"] == "An answer"
    assert (await rig.client.post("/title", json={**body, "sessionId": "unknown"})).status_code == 200
    assert [row["id"] for row in (await rig.listed())["sessions"]] == ["s"]


async def test_a_failed_answer_keeps_its_error(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel("Half", ModelError("No more paper"))) as rig:
        await rig.ask("s", "Hi")
        metadata = (await rig.page("s"))["messages"][1]["metadata"]
        assert (metadata["finish"], metadata["error"]) == ("error", "No more paper")


async def test_a_branch_is_selected(rig: Rig) -> None:
    await rig.ask("s", "One")
    first = await rig.page("s")
    await rig.ask("s", "Two", edit=first["messages"][0]["id"])
    second = await rig.page("s")
    assert contents(second)[0] == "Two"
    body = {"activeLeafId": first["messages"][0]["id"]}
    response = await rig.client.patch("/sessions/s", json=body)
    assert response.json()["activeLeafId"] == first["messages"][1]["id"]  # the path goes on to its end
    assert contents(await rig.page("s")) == contents(first)


async def test_if_match_refuses_to_change_what_changed_meanwhile(rig: Rig) -> None:
    await rig.ask("s", "Hi")
    tag = (await rig.client.get("/sessions/s")).headers["etag"]
    response = await rig.client.patch("/sessions/s", json={"title": "Mine"}, headers={"If-Match": tag})
    assert response.status_code == 200
    response = await rig.client.patch("/sessions/s", json={"title": "Yours"}, headers={"If-Match": tag})
    assert (response.status_code, list(response.json())) == (412, ["error"])
    assert (await rig.page("s"))["title"] == "Mine"
    response = await rig.client.patch("/sessions/s", json={"title": "Any"}, headers={"If-Match": "*"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "says"),
    [
        ("GET", "/sessions?limit=0", {}, 400, "limit"),
        ("GET", "/sessions?limit=501", {}, 400, "limit"),
        ("GET", f"/sessions?limit={'9' * 5000}", {}, 400, "limit"),
        ("GET", "/sessions?limit=٣", {}, 400, "limit"),
        ("GET", "/sessions?before=x", {}, 400, "before"),
        ("GET", "/sessions?before=%00", {}, 400, "before"),
        ("GET", "/sessions?before=Li4", {}, 400, "before"),
        ("GET", "/sessions/unknown", {}, 404, "does not exist"),
        ("GET", "/sessions/unknown?limit=-1", {}, 400, "limit"),
        ("GET", "/sessions/%ff", {}, 400, "UTF-8"),
        ("GET", "/sessions/%ED%A0%80", {}, 400, "UTF-8"),
        ("GET", f"/sessions/{'x' * 401}", {}, 400, "400 bytes"),
        ("GET", "/sessions/unknown/export", {}, 404, "does not exist"),
        ("GET", "/sessions/s/stream?after=x", {}, 400, "after"),
        ("PATCH", "/sessions/unknown", {"json": {"title": "x"}}, 404, "does not exist"),
        ("PATCH", "/sessions/s", {"json": {"activeLeafId": "nobody"}}, 404, "no message"),
        ("PATCH", "/sessions/s", {"json": {"activeLeafId": 1}}, 400, "activeLeafId"),
        ("PATCH", "/sessions/s", {"json": {"activeLeafId": None}}, 400, "required"),
        ("PATCH", "/sessions/s", {"json": {}}, 400, "required"),
        ("PATCH", "/sessions/s", {"json": []}, 400, "JSON object"),
        ("PATCH", "/sessions/s", {"json": {"title": " "}}, 400, "1 to 120"),
        ("PATCH", "/sessions/s", {"json": {"title": "x" * 121}}, 400, "1 to 120"),
        ("PATCH", "/sessions/s", {"json": {"title": 1}}, 400, "string"),
        ("PATCH", "/sessions/s", {"content": b"{"}, 400, "JSON"),
        ("PATCH", "/sessions/s", {"json": {"title": "x" * 100_000}}, 413, "larger"),
        ("POST", "/sessions/import", {"content": b"{"}, 400, "JSON"),
        ("POST", "/sessions/import", {"content": b"\xff"}, 400, "JSON"),
        ("POST", "/sessions/import", {"content": b"[" * 90_000}, 400, "JSON"),
        ("POST", "/sessions/import", {"json": {"version": 1}}, 400, "nodes"),
        ("POST", "/sessions/import", {"content": b"x" * 100_001}, 413, "larger"),
        ("POST", f"/sessions/import?sessionId={'x' * 401}", {"json": {}}, 400, "400 bytes"),
        ("POST", "/sessions/import?title=", {"json": {}}, 400, "1 to 120"),
    ],
)
async def test_wrong_requests_are_explained(
    rig: Rig, method: str, path: str, options: dict[str, Any], status: int, says: str
) -> None:
    await rig.ask("s", "Hi")
    response = await rig.client.request(method, path, **options)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert says in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/sessions", "GET"),
        ("PUT", "/sessions/s", "GET, PATCH, DELETE"),
        ("POST", "/sessions/s", "GET, PATCH, DELETE"),
        ("PUT", "/sessions/import", "GET, PATCH, DELETE, POST"),
        ("DELETE", "/sessions/s/stream", "GET"),
        ("POST", "/sessions/s/export", "GET"),
    ],
)
async def test_other_methods_are_refused(rig: Rig, method: str, path: str, allowed: str) -> None:
    response = await rig.client.request(method, path, json={})
    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert method in response.json()["error"]


@pytest.mark.parametrize(
    "path", ["/sessions/", "/sessions/s/", "/sessions/s/other", "/sessions/s/stream/x", "/session"]
)
async def test_other_paths_are_not_found(rig: Rig, path: str) -> None:
    response = await rig.client.get(path)
    assert (response.status_code, response.text) == (404, "Not Found")


HOSTILE = [
    "a/b",
    "a%2Fb",
    "..%2f..",
    "?limit=1#x",
    " ",
    "import",
    "s/stream",
    "ünï çødé 🛶",
    "'; DROP TABLE aibind_sessions; --",
    "%",
    "\r\t\x7f",
    "%00",
    "x" * 400,
]


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("session_id", HOSTILE, ids=repr)
async def test_ids_of_any_character(tmp_path: Path, session_id: str, mounted: bool) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel("ok"), mounted=mounted) as rig:
        await rig.ask(session_id, "Hi")
        await rig.ask("another", "Hi")
        assert session_id in {row["id"] for row in (await rig.listed(limit=2))["sessions"]}
        assert (await rig.page(session_id))["id"] == session_id
        response = await rig.client.patch(path_of(session_id), json={"title": "Named"})
        assert (response.status_code, response.json()["id"]) == (200, session_id)
        assert (await rig.client.get(path_of(session_id) + "/stream")).status_code == 204
        assert (await rig.client.get(path_of(session_id) + "/export")).status_code == 200
        cursor = (await rig.listed(limit=1))["before"]
        assert len((await rig.listed(before=cursor))["sessions"]) == 1
        assert (await rig.client.delete(path_of(session_id))).status_code == 204
        assert [row["id"] for row in (await rig.listed())["sessions"]] == ["another"]


# --- deleting ---


async def test_deleting_stops_every_reply_and_none_brings_the_session_back(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel(*ENDLESS, rate=100)) as rig:
        replies = [await rig.handler.stream({"sessionId": "s", "prompt": f"Hi {number}"}) for number in range(3)]
        response = await rig.client.delete("/sessions/s")
        assert (response.status_code, response.content) == (204, b"")
        assert "content-length" not in response.headers
        for reply in replies:
            assert not isinstance(reply.body, bytes)
            assert b"event: stopped" in b"".join([data async for data in reply.body])
        assert (await rig.listed())["sessions"] == []
        assert (await rig.client.get("/sessions/s")).status_code == 404
        assert (await rig.client.delete("/sessions/s")).status_code == 204  # once more does nothing


async def test_deleting_stops_a_reply_of_another_server(tmp_path: Path) -> None:
    model = ScriptedModel(*ENDLESS, rate=100)
    async with serving(tmp_path / "chat.db", model) as one, serving(tmp_path / "chat.db", model) as two:
        async with one.client.stream("POST", "/stream", json={"prompt": "Hi", "sessionId": "s"}) as response:
            assert (await two.client.delete("/sessions/s")).status_code == 204
            assert b"event: stopped" in await response.aread()
        await until(lambda: one.handler.live_stream("s") is None)
        assert model.closed == 1
        assert (await two.listed())["sessions"] == []  # its first turn was loaded whole, and must not be saved again


# --- the reply under way ---


async def test_a_reply_is_attached_to_from_another_server(tmp_path: Path) -> None:
    words = ScriptedModel(*ENDLESS[:300], rate=300)
    async with serving(tmp_path / "chat.db", words) as one, serving(tmp_path / "chat.db", words) as two:
        assert (await two.client.get("/sessions/s/stream")).status_code == 204
        async with one.client.stream("POST", "/stream", json={"prompt": "Hi", "sessionId": "s"}) as response:
            stream_id = response.headers["x-stream-id"]
            assert (await two.page("s"))["liveStream"] == stream_id
            attached = await two.client.get("/sessions/s/stream")
            whole = "".join(ENDLESS[:300])
            assert (attached.status_code, attached.headers["x-stream-id"]) == (200, stream_id)
            assert text_of(SseParser().feed(attached.content)) == whole
            assert text_of(SseParser().feed(await response.aread())) == whole
        after = await two.client.get("/sessions/s/stream")
        assert (after.status_code, after.content) == (204, b"")


async def test_a_reply_is_attached_to_after_an_id(tmp_path: Path) -> None:
    model = GatedModel()
    async with serving(tmp_path / "chat.db", model) as rig:
        await rig.streams.create("elsewhere", session_id="s")
        await rig.streams.append_many("elsewhere", ["\x01one ", "\x01two ", "\x01three "])

        async def attach(query: str, headers: dict[str, str]) -> str:
            async with rig.client.stream("GET", f"/sessions/s/stream{query}", headers=headers) as response:
                parser = SseParser()
                text = ""
                async for data in response.aiter_raw():
                    text += text_of(parser.feed(data))
                    if "three" in text:
                        break
                return text

        assert await attach("", {}) == "one two three "
        assert await attach("?after=1", {}) == "two three "
        assert await attach("?after=1", {"Last-Event-ID": "2"}) == "three "


async def test_a_handler_without_durable_streams_has_no_reply_to_attach_to(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=SqliteMessageStore(client))
        async with serve(create_app(handler)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            await http.post("/__aibind__/stream", json={"prompt": "Hi", "sessionId": "s"})
            assert (await http.get("/__aibind__/sessions/s")).json()["liveStream"] is None
            assert (await http.get("/__aibind__/sessions/s/stream")).status_code == 204
            assert (await http.delete("/__aibind__/sessions/s")).status_code == 204


async def test_no_version_is_selected_under_a_live_reply(tmp_path: Path) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel(*ENDLESS, rate=100)) as rig:
        await rig.handler.stream({"prompt": "Hi", "sessionId": "s"})
        question = (await rig.page("s"))["messages"][0]["id"]
        response = await rig.client.patch("/sessions/s", json={"activeLeafId": question})
        assert (response.status_code, list(response.json())) == (409, ["error"])


# --- files ---


async def test_a_session_is_exported_and_imported(rig: Rig) -> None:
    await rig.ask("s", "One")
    first = (await rig.page("s"))["messages"]
    await rig.ask("s", "Two", edit=first[0]["id"])
    await rig.client.patch("/sessions/s", json={"title": 'Tides / "moons" 🌙'})
    exported = await rig.client.get("/sessions/s/export")
    assert exported.headers["content-type"] == "application/json"
    disposition = exported.headers["content-disposition"]
    assert disposition.startswith("attachment; filename=\"Tides moons.json\"; filename*=UTF-8''Tides")
    assert disposition.isascii()
    assert exported.text == (await rig.conversations.load("s")).to_json()
    assert ChatHistory.from_json(exported.text).size == 4

    taken = await rig.client.post("/sessions/import", params={"sessionId": "s"}, content=exported.content)
    assert (taken.status_code, list(taken.json())) == (409, ["error"])
    made = await rig.client.post("/sessions/import", content=exported.content)
    assert made.status_code == 201
    copy = await rig.page(made.json()["id"])
    assert contents(copy) == ["Two", "An answer"]
    assert copy["title"] == "One"
    assert len(copy["messages"][0]["alternatives"]) == 2
    assert (await rig.client.get(f"/sessions/{copy['id']}/export")).content == exported.content
    params = {"sessionId": "a/b", "title": "Given"}
    named = await rig.client.post("/sessions/import", params=params, content=exported.content)
    assert (named.status_code, named.json()) == (201, {"id": "a/b"})
    assert (await rig.page("a/b"))["title"] == "Given"
    await rig.ask("a/b", "And a turn")
    assert contents(await rig.page("a/b"))[-2:] == ["And a turn", "An answer"]


async def test_numbers_that_overflow_are_not_imported(rig: Rig) -> None:
    chat = ChatHistory()
    chat.append({"role": "user", "content": "Hi", "n": 12345})
    for number in ("1e999", "NaN"):
        body = chat.to_json().replace("12345", number)
        assert (await rig.client.post("/sessions/import", content=body)).status_code == 400


async def test_half_characters_are_exported_and_shown(rig: Rig) -> None:
    chat = ChatHistory()
    chat.append({"role": "user", "content": "half \ud800"})
    await rig.conversations.save("s", chat)
    assert (await rig.listed())["sessions"][0]["title"] is None
    assert contents(await rig.page("s")) == ["half ?"]
    exported = await rig.client.get("/sessions/s/export")
    assert json.loads(exported.content) == json.loads(chat.to_json())


async def test_an_attached_file_is_fetched(rig: Rig) -> None:
    attachment = {"mimeType": "text/plain", "data": "SGVsbG8=", "name": "note.txt"}
    await rig.ask("a/b", "Read this", attachments=[attachment])
    parts = (await rig.page("a/b"))["messages"][0]["message"]["content"]
    file_id = next(part["file"]["id"] for part in parts if part.get("type") == "file")
    response = await rig.client.get(f"{path_of('a/b')}/files/{quote(file_id, safe='')}")
    assert (response.status_code, response.content) == (200, b"Hello")
    for path in (f"/sessions/other/files/{file_id}", f"{path_of('a/b')}/files/unknown", f"{path_of('a/b')}/files/"):
        assert (await rig.client.get(path)).status_code == 404
    assert (await rig.client.delete(f"{path_of('a/b')}/files/x")).headers["allow"] == "GET"


# --- who answers ---


async def test_an_export_brings_its_files(tmp_path: Path) -> None:
    picture = {"mimeType": "image/png", "data": "aGVsbG8=", "name": "hello.png"}
    async with serving(tmp_path / "here.db", ScriptedModel("A picture")) as here:
        await here.ask("s", "What is it?", attachments=[picture])
        exported = (await here.client.get("/sessions/s/export")).content
        (message, _) = (await here.page("s"))["messages"]
        reference = message["message"]["content"][1]["file"]
        assert "file_data" not in reference
    async with serving(tmp_path / "there.db", ScriptedModel("A picture")) as there:
        answer = await there.client.post("/sessions/import", params={"sessionId": "s"}, content=exported)
        assert answer.status_code == 201, answer.text
        assert (await there.page("s"))["messages"][0]["message"] == message["message"]
        found = await there.client.get(f"/sessions/s/files/{quote(reference['id'], safe='')}")
        assert found.content == b"hello"
        changed = exported.replace(b"aGVsbG8=", b"aGVsbG8h")
        refused = await there.client.post("/sessions/import", params={"sessionId": "t"}, content=changed)
        assert (refused.status_code, refused.json()) == (
            400,
            {"error": 'The file "hello.png" is not what its reference says'},
        )
        assert (await there.client.get("/sessions/t")).status_code == 404


async def test_a_question_to_what_was_deleted_meanwhile_is_refused(rig: Rig) -> None:
    await rig.ask("s", "One")
    turn = await rig.handler._session("s").begin(StreamBody.parse({"prompt": "Two", "sessionId": "s"}))
    await rig.conversations.delete("s")
    with pytest.raises(ConversationConflictError):
        await turn.save_question()
    turn.abandon()
    assert (await rig.conversations.load("s")).is_empty


async def test_other_stores_say_which_store_lists_sessions() -> None:
    for conversations in (None, MemoryConversationStore()):
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=conversations)
        async with serve(create_app(handler)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            for path in ("", "/s", "/s/stream"):
                response = await client.get(f"/__aibind__/sessions{path}")
                assert response.status_code == 501
                assert 'SqliteMessageStore(wrap_sqlite3(":memory:"))' in response.json()["error"]


async def test_a_store_in_memory_lists_sessions() -> None:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=SqliteMessageStore(client))
        endpoints = Endpoints(handler)

        async def no_body() -> bytes:
            raise AssertionError("this endpoint takes no body")

        found = await endpoints.answer("GET", "/__aibind__/sessions", "", {}, no_body)
        assert found.body == b'{"sessions":[],"before":null}'


async def test_pages_elsewhere_may_be_allowed_to_call(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        handler = StreamHandler(model=ScriptedModel("ok"), conversations=SqliteMessageStore(client))
        app = create_app(handler, cors_origins=["https://app.example"])
        async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            for method in ("PATCH", "DELETE"):
                asked = {
                    "Origin": "https://app.example",
                    "Access-Control-Request-Method": method,
                    "Access-Control-Request-Headers": "content-type, if-match, if-none-match",
                }
                response = await http.options("/__aibind__/sessions/s", headers=asked)
                assert response.status_code == 200
                assert method in response.headers["access-control-allow-methods"]
            response = await http.get("/__aibind__/sessions", headers={"Origin": "https://app.example"})
            exposed = response.headers["access-control-expose-headers"].lower()
            assert {"etag", "x-stream-id", "content-disposition"} <= set(exposed.split(", "))


@pytest.mark.parametrize("raw_path", [None, b"/sessions/another"])
@pytest.mark.parametrize("session_id", ["50%", "a%2Fb", "ü"])
async def test_a_path_is_found_without_the_raw_one(tmp_path: Path, session_id: str, raw_path: bytes | None) -> None:
    async with serving(tmp_path / "chat.db", ScriptedModel("ok")) as rig:
        await rig.ask(session_id, "Hi")
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": f"/__aibind__/sessions/{session_id}",
            "raw_path": raw_path,
            "query_string": b"",
            "headers": [],
        }
        await create_app(rig.handler)(scope, receive, send)
        assert sent[0]["status"] == 200
        assert json.loads(sent[1]["body"])["id"] == session_id
