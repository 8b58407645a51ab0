"""Our transport for the AI SDK's chat, in Node, over connections that break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.server import Access, create_chat_app
from aibind.streams import SseParser
from tests.frontends.chat_server import PAID, Server, check_stored, serving
from tests.frontends.cut_transport import read_with_transport
from tests.frontends.driver import VERSIONS, Chat, Driver, running_driver, text_of
from tests.processes.support import run_server
from tests.support.cutting import CuttingProxy, every
from tests.support.http import serve

pytestmark = pytest.mark.anyio

TRANSPORT = Path(__file__).parents[2] / "src/aibind/server/transport.js"

END_ID = 2**53 - 1


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one driver."""
    return "asyncio"


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with running_driver() as driver:
        yield driver


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


Open = Callable[..., Any]


@pytest.fixture(params=[7])
def page(request: pytest.FixtureRequest, driver: Driver, server: Server) -> Open:
    """Open a page with our transport."""

    async def open_page(chat: str = "chat-1", ours: Any = None, **options: Any) -> Chat:
        api = options.pop("api", server.api)
        return await driver.chat(api, chat, request.param, ours=ours or {}, **options)

    return open_page


in_every_version = pytest.mark.parametrize("page", VERSIONS, ids=lambda version: f"ai {version}", indirect=True)


@contextlib.asynccontextmanager
async def cut_after(server: Server, *limits: int | None) -> AsyncIterator[tuple[str, CuttingProxy]]:
    """Cut the first connections after so many bytes; give the address of the endpoints, and the proxy."""
    left = iter(limits)
    proxy = CuttingProxy(server.url, every(lambda: next(left, None)))
    async with proxy.serving() as url:
        yield f"{url}/api/chat", proxy


def messages_of(body: bytes) -> list[tuple[str, str]]:
    """Return the id and the data of each message."""
    return [(message.id, message.data) for message in SseParser().feed(body)]


def counted(count: int) -> str:
    return "".join(f"{number} " for number in range(count))


@pytest.mark.parametrize("version", VERSIONS)
async def test_replies_over_connections_that_break(driver: Driver, server: Server, version: int) -> None:
    found = await read_with_transport(driver, server, version, 5, 1)
    assert found.replies == 5
    assert found.breaks >= found.resumed > 0


@in_every_version
async def test_the_chat_sees_one_stream(page: Open, server: Server) -> None:
    """Cut in the text, in the next connection as well, and in the header of the third."""
    async with cut_after(server, 1_500, 900, 60) as (api, proxy):
        chat = await page(api=api)
        state = await chat.send("count 60")
    assert (state["status"], state["error"]) == ("ready", None)
    assert [one["isDisconnect"] for one in state["finished"]] == [False]
    assert text_of(state["messages"][-1]) == counted(60)
    assert (proxy.cuts, len(state["cuts"]), state["joins"]) == (3, 3, 3)
    assert all(200 < wait < 3_000 for wait in state["cuts"])
    assert len(server.model.requests) == 1
    await check_stored(server, state)


async def test_a_reload_gives_all_and_a_position_the_rest(driver: Driver, page: Open, server: Server) -> None:
    await (await page()).begin("sendMessage", {"text": "count 80"})
    async with cut_after(server, 1_200, 700) as (api, _):
        await asyncio.sleep(0.1)
        chat = await page(api=api, messages=await server.stored("chat-1"))
        state = await chat.call("resumeStream")
        assert (state["status"], state["error"]) == ("ready", None)
        assert text_of(state["messages"][-1]) == counted(80)
        await check_stored(server, state)
    whole = await driver.run("readTransport", api=server.api, chat="chat-1")
    assert [chunk["type"] for chunk in whole["chunks"][:3]] == ["start", "start-step", "text-start"]
    messages = SseParser().feed((await server.get("/chat-1/stream")).content)
    place = len(messages) // 2
    position = {"streamId": whole["position"]["streamId"], "after": messages[place].id}
    rest = await driver.run("readTransport", api=server.api, chat="chat-1", position=position)
    assert rest["chunks"] == whole["chunks"][place + 1 :]
    assert whole["position"]["after"] == str(END_ID)
    gone = await driver.run("readTransport", api=server.api, chat="chat-1", position=whole["position"])
    assert (gone["found"], gone["chunks"]) == (False, [])
    none = await driver.run("readTransport", api=server.api, chat="unknown")
    assert not none["found"]


async def test_what_the_ids_are_answered_with(server: Server) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
    response = await server.post("", json=body)
    stream_id = response.headers["x-resumable-stream-id"]
    messages = messages_of(response.content)
    ids = [id_ for id_, _ in messages if id_]
    assert ids == ["0", "1", "2", str(END_ID)]
    for path in ("/c/stream", f"/resume/{stream_id}"):
        for place, after in [(1, "0"), (4, "1")]:
            for options in ({"headers": {"Last-Event-ID": after}}, {"params": {"after": after}}):
                rest = await server.get(path, **options)
                assert messages_of(rest.content) == messages[place:]
        both = await server.get(path, params={"after": "0"}, headers={"Last-Event-ID": "1"})
        assert messages_of(both.content) == messages[4:]
        assert (await server.get(path, params={"after": END_ID})).status_code == 204
        for wrong in ("x", "-1", str(2**53), "9" * 30):
            assert (await server.get(path, params={"after": wrong})).status_code == 400
    for query in ("", "?after=1", f"?after={END_ID}"):
        assert (await server.get(f"/resume/unknown{query}")).status_code == 404


@pytest.mark.parametrize("method", ["regenerate", "edit", "approve"])
async def test_a_request_whose_answer_is_lost_is_answered_once(page: Open, server: Server, method: str) -> None:
    PAID.clear()
    chat = await page()
    await chat.send("pay" if method == "approve" else "Hello")
    before = len(server.model.requests)
    async with cut_after(server, 0, 40) as (api, proxy):
        late = await page(api=api, messages=await server.stored("chat-1"), automatic="approvals")
        if method == "regenerate":
            await late.call("regenerate")
        elif method == "edit":
            message = (await late.state())["messages"][0]["id"]
            await late.call("sendMessage", {"text": "Bye", "messageId": message})
        else:
            await late.call("addToolApprovalResponse", {"id": "c2", "approved": True})
        state = await late.wait_idle()
        assert proxy.cuts == 2
    assert (state["status"], state["error"]) == ("ready", None)
    assert len(server.model.requests) == before + 1
    assert len(PAID) == (method == "approve")
    await check_stored(server, state)


async def test_an_answer_without_a_stream_is_read_again(page: Open, server: Server) -> None:
    """A message that was answered before, and whose stream has expired, is given its stored answer once."""
    await (await page()).send("count 60")
    question, answer = await server.stored("chat-1")
    await server.database.execute("DELETE FROM aibind_stream_status WHERE id = ?", [answer["id"]])
    async with cut_after(server, 400, 600) as (api, proxy):
        chat = await page(api=api)
        state = await chat.call("sendMessage", question)
    assert (state["status"], state["error"], proxy.cuts) == ("ready", None, 2)
    assert text_of(state["messages"][-1]) == counted(60)
    assert [chunk["type"] for chunk in state["chunks"]].count("text-delta") == 1
    assert len(server.model.requests) == 1


@in_every_version
async def test_stop(page: Open, server: Server) -> None:
    """The transport stops the reply for everybody; a chat that stops leaves it, as one that is unmounted does."""
    chat, other = await page(), await page()
    await chat.begin("sendMessage", {"text": "count 5000"})
    await chat.wait_text(20)
    await other.begin("resumeStream")
    await other.wait_text(20)
    await chat.stop_reply()
    for one in (chat, other):
        state = await one.wait_idle()
        assert (state["status"], state["error"]) == ("ready", None)
    await check_stored(server, await chat.state())
    stored = (await server.stored("chat-1"))[-1]
    assert stored["metadata"]["finish"] == "stopped"
    assert counted(5000).startswith(text_of(stored))
    await chat.begin("sendMessage", {"text": "wait"})
    await chat.wait_text(4)
    await other.begin("resumeStream")
    await other.wait_text(4)
    state = await chat.call("stop")
    assert (state["status"], state["error"]) == ("ready", None)
    await other.call("stop")
    late = await page(messages=await server.stored("chat-1"))
    await late.begin("resumeStream")
    server.model.go.set()
    assert text_of((await late.wait_idle())["messages"][-1]) == "Half and half"


@pytest.mark.parametrize("leaves", [False, True])
async def test_stop_at_once(page: Open, server: Server, leaves: bool) -> None:
    """A message that is stopped before it is answered is sent, and its reply is stopped."""
    chat = await page()
    await chat.begin("sendMessage", {"text": "count 5000"})
    while (await chat.state())["status"] == "ready":  # the library prepares the request
        await asyncio.sleep(0)
    stopping = asyncio.ensure_future(chat.stop_reply())
    while not server.model.requests:
        await asyncio.sleep(0)
    if leaves:
        await chat.call("stop")
    await stopping
    state = await chat.wait_idle()
    assert (state["status"], state["error"]) == ("ready", None)
    ended = await server.get("/chat-1/stream")  # an answer that says nothing yet is not stored
    assert '"type":"abort"' in ended.text


async def test_a_chat_that_reconnects_twice_leaves_nothing(page: Open, server: Server) -> None:
    """React does so in its strict mode."""
    await (await page()).begin("sendMessage", {"text": "count 100"})
    chat = await page()
    await asyncio.sleep(0.05)
    await chat.begin("resumeStream")
    state = await chat.call("resumeStream")
    assert text_of(state["messages"][-1]) == counted(100)
    assert len(state["finished"]) == 1


class Door:
    """An app in front of another that refuses requests: each that ``refuses`` gives a status for."""

    def __init__(self, app: Any, refuses: Callable[[str], int | None]) -> None:
        self._app = app
        self._refuses = refuses
        self.refused = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status = self._refuses(scope["path"])
        if status is None:
            await self._app(scope, receive, send)
            return
        self.refused += 1
        headers = [(b"retry-after", b"1"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"error": "Not now"}'})


@contextlib.asynccontextmanager
async def behind(server: Server, path: str, statuses: Iterable[int], *limits: int) -> AsyncIterator[tuple[str, Door]]:
    """Refuse the first requests to a path, and cut the first connections."""
    left = iter(statuses)
    door = Door(create_chat_app(server.handler), lambda asked: next(left, None) if path in asked else None)
    async with serve(door) as url:
        cuts = iter(limits)
        async with CuttingProxy(url, every(lambda: next(cuts, None))).serving() as proxied:
            yield f"{proxied}/api/chat", door


async def test_a_server_that_is_busy_is_asked_when_it_says(page: Open, server: Server) -> None:
    async with behind(server, "/resume/", [429], 900) as (api, door):
        state = await (await page(api=api)).send("count 60")
        assert (state["status"], state["error"], door.refused) == ("ready", None, 1)
        assert text_of(state["messages"][-1]) == counted(60)
        assert [wait >= 1_000 for wait in state["cuts"]] == [False, True]
    async with behind(server, "/chat", [429]) as (api, door):
        state = await (await page("chat-2", api=api)).send("Hello")
        assert (state["status"], state["error"], door.refused) == ("ready", None, 1)
        assert len(await server.stored("chat-2")) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_is_shown(page: Open, server: Server, status: int) -> None:
    """At once, when a reply is resumed as well: asking again would change nothing."""
    async with behind(server, "/resume/", [status] * 9, 900) as (api, door):
        state = await (await page(api=api)).send("count 60")
        assert (state["status"], state["error"]) == ("error", "ChatTransportError: Not now")
        assert door.refused == 1
        assert counted(60).startswith(text_of(state["messages"][-1]))
    async with behind(server, "/chat", [status] * 9) as (api, door):
        state = await (await page("chat-2", api=api)).send("Hello")
        assert (state["status"], state["error"]) == ("error", "ChatTransportError: Not now")
        assert door.refused == 1


async def test_a_token_is_renewed(driver: Driver) -> None:
    """Each request has the headers of its own time."""
    users: list[str | None] = []

    def authorize(request: Any, action: str, session_id: str | None, stream_id: str | None) -> Access | None:
        users.append(request.headers.get("x-user"))
        return Access("ada") if users[-1] in ("first", "second") else None

    async with serving(authorize=authorize) as server, cut_after(server, 900) as (api, _):
        chat = await driver.chat(api, "c", 7, ours={"tokens": ["first", "second"]})
        state = await chat.send("count 60")
        assert (state["status"], text_of(state["messages"][-1])) == ("ready", counted(60))
        assert users == ["first", "second"]
    async with serving(authorize=authorize) as server, cut_after(server, 900) as (api, _):
        chat = await driver.chat(api, "c", 7, ours={"tokens": ["first", "expired"]})
        state = await chat.send("count 60")
        assert state["status"] == "error"
        assert "Sign in first" in state["error"]


async def test_a_server_that_is_not_there(driver: Driver) -> None:
    """The error is that of ``fetch``, by which the AI SDK knows a lost connection."""
    chat = await driver.chat("http://127.0.0.1:9/api/chat", "c", 7, ours={})
    state = await chat.send("Hello")
    assert (state["status"], state["finished"][-1]["isDisconnect"]) == ("error", True)


async def test_a_server_that_has_lost_the_reply(driver: Driver, server: Server) -> None:
    proxy = CuttingProxy(server.url, iter([900, None, None]))
    async with proxy.serving() as url, serving() as other:
        chat = await driver.chat(f"{url}/api/chat", "c", 7, ours={})
        await chat.begin("sendMessage", {"text": "count 60"})
        await chat.wait_text(4)
        proxy.retarget(other.url)
        state = await chat.wait_idle()
        assert state["status"] == "error"
        assert "does not exist or has expired" in state["error"]


async def test_a_server_that_is_killed(driver: Driver, tmp_path: Path) -> None:
    """Another process goes on for a page that follows through the killed one; what the killed one produced is lost."""
    options = {"chat_app": True, "messages": True, "lease_ms": 800, "rate": 60}
    with (
        run_server(tmp_path / "chat.db", **options) as (process, url),
        run_server(tmp_path / "chat.db", **options) as (
            _,
            other_url,
        ),
    ):
        at, other = url.removesuffix("/__aibind__"), other_url.removesuffix("/__aibind__")
        proxy = CuttingProxy(at, every(lambda: None))
        async with proxy.serving() as proxied:
            asking = await driver.chat(f"{other}/api/chat", "c", 7, ours={})
            await asking.begin("sendMessage", {"text": "90"})
            await asking.wait_text(10)
            following = await driver.chat(f"{proxied}/api/chat", "c", 7, ours={})
            lost = await driver.chat(f"{proxied}/api/chat", "d", 7, ours={})
            await following.begin("resumeStream")
            await lost.begin("sendMessage", {"text": "5000"})
            for chat in (following, lost):
                await chat.wait_text(20)
            process.kill()
            proxy.retarget(other)
            state = await following.wait_idle()
            assert (state["status"], state["error"]) == ("ready", None)
            assert text_of(state["messages"][-1]) == counted(90)
            assert state["cuts"]
            state = await lost.wait_idle()
            assert (state["status"], state["error"]) == ("error", "Error: producer lost")
            assert counted(5000).startswith(text_of(state["messages"][-1]))
            state = await lost.send("3")
            assert text_of(state["messages"][-1]) == counted(3)


async def test_assistant_ui_reads_the_ids(driver: Driver, server: Server) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "count 9"}]}]}
    answer = await server.post("", json=body)
    assert answer.text.count("\nid: ") > 2
    message = await driver.run("decode", answer=answer.text)
    assert "".join(part["text"] for part in message["parts"] if part["type"] == "text") == counted(9)


async def test_the_app_serves_it(server: Server) -> None:
    found = await server.get("/transport.js")
    assert found.content == TRANSPORT.read_bytes()
    assert found.headers["content-type"].startswith("text/javascript")
    async with httpx2.AsyncClient() as client:
        again = await client.get(f"{server.api}/transport.js", headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
