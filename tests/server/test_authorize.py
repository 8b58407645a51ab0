"""Who may do what: what is asked, what is refused, and that owners are kept apart, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import Mount

from aibind.conversations import MemoryConversationStore
from aibind.errors import RequestError
from aibind.history import ChatHistory
from aibind.models import ModelEvent, ModelRequest, TextDelta, ToolCall
from aibind.server import Access, Endpoints, HttpRequest, StreamHandler, Tool, create_app, session_key
from aibind.server.access import MAX_OWNER_BYTES
from aibind.server.requests import MAX_SESSION_BYTES
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, SseParser
from tests.support.access import CASES, FILE, fill_table
from tests.support.http import serve
from tests.support.models import PATIENCE_S, GatedModel, ScriptedModel, until
from tests.support.sources import text_of

ADA, EVE = {"X-User": "ada"}, {"X-User": "eve"}


def by_header(request: Any, action: str, session_id: str | None, stream_id: str | None) -> str | None:
    user: str | None = request.headers.get("x-user")
    return user


@asynccontextmanager
async def serving(handler: StreamHandler, authorize: Any = by_header, **options: Any) -> AsyncIterator[Any]:
    app = create_app(handler, authorize=authorize, **options)
    async with client_of(app) as client:
        yield client
        await handler.aclose()


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[Any]:
    async with (
        serve(app) as url,
        httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False, timeout=PATIENCE_S) as client,
    ):
        yield client


@asynccontextmanager
async def handler_on(database: Path, model: Any, **options: Any) -> AsyncIterator[StreamHandler]:
    async with wrap_sqlite3(database) as client:
        await migrate(client)
        streams, conversations = SqliteStreamStore(client), SqliteMessageStore(client)
        yield StreamHandler(model=model, resumable=True, store=streams, conversations=conversations, **options)


# --- the table ---


async def test_anothers_id_is_answered_as_an_unknown_one(tmp_path: Path) -> None:
    """``python -m tests.access`` compares the times as well."""
    rows, unharmed = await fill_table(tmp_path / "chat.db", 3)
    assert unharmed
    for row, case in zip(rows, CASES, strict=True):
        owner, other = case.statuses
        assert (row.statuses("owner"), row.statuses("other")) == ([owner], [other]), row.name
        assert row.statuses("nobody") == [401], row.name
        assert not row.names_an_id or row.is_same, row.name
    assert sum(row.names_an_id for row in rows) == 20


# --- what is asked ---

MESSAGES = [{"role": "user", "content": "Hi"}]

ASKED: list[tuple[str, str, Any, tuple[str, str | None, str | None]]] = [
    ("POST", "/stream", {"prompt": "Hi", "sessionId": "s"}, ("stream", "s", None)),
    ("POST", "/stream", {"prompt": "Hi"}, ("stream", None, None)),
    ("POST", "/structured", {"prompt": "Hi", "sessionId": "s"}, ("structured", "s", None)),
    ("POST", "/chat", {"messages": MESSAGES, "sessionId": 7, "id": 7}, ("chat", None, None)),
    ("POST", "/complete", {"input": "Hi"}, ("complete", None, None)),
    ("POST", "/title", {"messages": MESSAGES, "sessionId": "s"}, ("title", "s", None)),
    ("POST", "/compact", {"messages": [], "sessionId": "s"}, ("compact", "s", None)),
    ("POST", "/stream/stop", {"id": "x"}, ("stop", None, "x")),
    ("GET", "/stream/resume?id=x", None, ("resume", None, "x")),
    ("GET", "/stream/resume", None, ("resume", None, None)),
    ("GET", "/sessions", None, ("list", None, None)),
    ("GET", "/sessions/a%2Fs", None, ("open", "a/s", None)),
    ("PATCH", "/sessions/s", {"title": "T"}, ("change", "s", None)),
    ("DELETE", "/sessions/s", None, ("delete", "s", None)),
    ("GET", "/sessions/s/stream", None, ("attach", "s", None)),
    ("GET", "/sessions/s/export", None, ("export", "s", None)),
    ("GET", "/sessions/s/files/f", None, ("file", "s", None)),
    ("GET", "/sessions/a%2Fs/approvals", None, ("approvals", "a/s", None)),
    ("POST", "/sessions/s/approvals", {}, ("approve", "s", None)),
    ("POST", "/sessions/import", {}, ("import", None, None)),
    ("POST", "/sessions/import?sessionId=s", {}, ("import", "s", None)),
]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_authorize_is_asked_before_every_endpoint(tmp_path: Path, is_async: bool) -> None:
    asked: list[tuple[str, str | None, str | None]] = []

    def authorize(request: Any, *what: Any) -> None:
        assert isinstance(request, Request)
        asked.append(what)

    async def authorize_later(request: Any, *what: Any) -> None:
        await asyncio.sleep(0)
        authorize(request, *what)

    model = ScriptedModel("x")
    async with handler_on(tmp_path / "chat.db", model) as handler:
        async with serving(handler, authorize_later if is_async else authorize) as client:
            for method, path, body, expected in ASKED:
                response = await client.request(method, path, json=body)
                assert (response.status_code, response.json()) == (401, {"error": "Sign in first"})
                assert response.headers["www-authenticate"] == "Bearer"
                assert asked.pop() == expected
            assert asked == []
            assert (await client.post("/nothing", json={})).status_code == 404
            assert (await client.put("/sessions/s")).status_code == 405
        assert asked == []
        assert model.requests == []
        assert await handler.sessions().list_sessions({}) == await handler.sessions(Access("ada")).list_sessions({})


async def test_what_is_wrong_with_a_body_is_told_to_those_who_may_ask(tmp_path: Path) -> None:
    async with handler_on(tmp_path / "chat.db", ScriptedModel("x")) as handler, serving(handler) as client:
        for path, content in (
            ("/stream", b"{nope"),
            ("/stream", b'"text"'),
            ("/stream", b'{"prompt": "Hi", "sessionId": "\\ud800"}'),
            ("/stream/stop", b"{}"),
            ("/sessions/import", b"{nope"),
        ):
            assert (await client.post(path, content=content)).status_code == 401
            assert (await client.post(path, content=content, headers=ADA)).status_code == 400


@pytest.mark.parametrize(
    ("failure", "status", "body", "challenge"),
    [
        (RequestError("You may only read", 403), 403, "You may only read", None),
        (RequestError("Who are you?", 401, headers={"WWW-Authenticate": "Basic"}), 401, "Who are you?", "Basic"),
        (HTTPException(403, "Not yours"), 403, "Not yours", None),
        (HTTPException(401, headers={"WWW-Authenticate": "Basic"}), 401, "Unauthorized", "Basic"),
        (RuntimeError("the users' database is gone"), 500, "The server failed", None),
        (7, 500, "The server failed", None),
        ("", 500, "The server failed", None),
    ],
)
async def test_what_is_not_granted_is_refused(
    failure: Any, status: int, body: str, challenge: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def authorize(*_: Any) -> Any:
        if isinstance(failure, Exception):
            raise failure
        return failure

    model = ScriptedModel("x")
    async with serving(StreamHandler(model=model), authorize) as client:
        response = await client.post("/stream", json={"prompt": "Hi"})
    assert (response.status_code, response.json()) == (status, {"error": body})
    assert response.headers.get("www-authenticate") == challenge
    assert model.requests == []
    assert bool(caplog.records) == (status == 500)


class ByToken(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))


async def test_the_user_of_starlettes_middleware_is_seen() -> None:
    def authorize(request: Request, *_: Any) -> str | None:
        return request.user.username if request.user.is_authenticated else None

    store = MemoryStreamStore()
    app = create_app(StreamHandler(model=ScriptedModel("x"), resumable=True, store=store), authorize=authorize)
    outer = Starlette(routes=[Mount("/", app)], middleware=[Middleware(AuthenticationMiddleware, backend=ByToken())])
    async with client_of(outer) as client:
        assert (await client.post("/stream", json={"prompt": "Hi"})).status_code == 401
        reply = await client.post("/stream", json={"prompt": "Hi"}, headers=ADA)
    status = await store.get_status(reply.headers["x-stream-id"])
    assert status is not None
    assert status.owner == "ada"


async def test_other_hosts_are_asked_about_a_plain_request() -> None:
    async def read_body() -> bytes:
        return b'{"prompt": "Hi"}'

    asked: list[Any] = []
    endpoints = Endpoints(StreamHandler(model=ScriptedModel("x")), authorize=lambda *what: asked.append(what))
    headers = {"x-user": "ada"}
    reply = await endpoints.answer("POST", "/__aibind__/stream", "a=1", headers, read_body)
    assert reply.status == 401
    request = HttpRequest("POST", "/__aibind__/stream", "a=1", headers)
    assert asked == [(request, "stream", None, None)]
    await endpoints.answer("POST", "/__aibind__/stream", "", {}, read_body, request="the host's own")
    assert asked[1][0] == "the host's own"


def test_an_owner_is_checked() -> None:
    for wrong, error in ((7, TypeError), (None, TypeError), ("", ValueError), ("\ud800", ValueError)):
        with pytest.raises(error, match="owner"):
            Access(wrong)  # type: ignore[arg-type]
    assert Access("x" * MAX_OWNER_BYTES).context is None
    with pytest.raises(ValueError, match=r"1,025 bytes.*at most 1,024"):
        Access("x" * (MAX_OWNER_BYTES + 1))


# --- the context ---


async def test_the_context_reaches_the_model() -> None:
    model = ScriptedModel('"x"')
    async with serving(StreamHandler(model=model), lambda *_: Access("ada", {"plan": "pro"})) as client:
        for path, body in (
            ("/stream", {"prompt": "Hi"}),
            ("/structured", {"prompt": "Hi"}),
            ("/chat", {"messages": MESSAGES}),
            ("/complete", {"input": "Hi"}),
            ("/title", {"messages": MESSAGES}),
            ("/compact", {"messages": MESSAGES}),
        ):
            assert (await client.post(path, json=body)).status_code == 200
            assert model.requests.pop().context == {"plan": "pro"}
    async with serving(StreamHandler(model=model), None) as client:
        await client.post("/stream", json={"prompt": "Hi"})
        assert model.requests.pop().context is None


user: ContextVar[str] = ContextVar("user")


class CallingModel:
    """Calls a tool once, and repeats its result; ``context`` is that of each request."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.contexts.append(request.context)
        if request.messages[-1]["role"] == "user":
            yield ToolCall("1", "whoami", "{}")
        else:
            yield TextDelta(request.messages[-1]["content"])


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_context_variable_that_authorize_sets_reaches_tools(resumable: bool) -> None:
    async def authorize(request: Any, *_: Any) -> Access:
        await asyncio.sleep(0)
        user.set(request.headers["x-user"])
        return Access(request.headers["x-user"], "a context")

    async def whoami() -> str:
        return user.get()

    model = CallingModel()
    tools = {"mine": [Tool("whoami", "Says who asks", whoami)]}
    async with serving(StreamHandler(model=model, resumable=resumable, toolsets=tools), authorize) as client:
        bodies = [{"prompt": "Who am I?", "toolset": "mine"}, {"messages": MESSAGES, "toolset": "mine"}]
        for path, body in zip(("/stream", "/chat"), bodies, strict=True):
            replies = await asyncio.gather(
                *(client.post(path, json=body, headers={"X-User": name}) for name in ("ada", "eve"))
            )
            assert [text_of(SseParser().feed(reply.content)) for reply in replies] == ['"ada"', '"eve"']
    assert model.contexts == ["a context"] * 8


# --- owners are kept apart ---


async def ask(client: Any, headers: dict[str, str], prompt: str, session_id: str = "s") -> Any:
    response = await client.post("/stream", json={"prompt": prompt, "sessionId": session_id}, headers=headers)
    assert response.status_code == 200, response.text
    return response


def prompts_seen(model: ScriptedModel) -> list[str]:
    return [message["content"] for message in model.requests[-1].messages if message["role"] == "user"]


@pytest.mark.parametrize("kind", ["memory", "json", "messages"])
async def test_one_session_id_is_a_session_of_each_owner(kind: str, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as sql:
        await migrate(sql)
        stores: dict[str, Callable[[], Any]] = {
            "memory": MemoryConversationStore,
            "json": lambda: SqliteConversationStore(sql),
            "messages": lambda: SqliteMessageStore(sql),
        }
        store, model = stores[kind](), ScriptedModel("An answer")
        async with serving(StreamHandler(model=model, conversations=store)) as client:
            await ask(client, ADA, "Ada's secret")
            await ask(client, EVE, "Show me")
            assert prompts_seen(model) == ["Show me"]
            await ask(client, ADA, "And more")
            assert prompts_seen(model) == ["Ada's secret", "And more"]
            body = {"messages": [], "sessionId": "s"}
            assert (await client.post("/compact", json=body, headers=EVE)).status_code == 200
            await ask(client, ADA, "Is all there?")
            assert prompts_seen(model)[0] == "Ada's secret"
        # What a client calls its session is not what another's is stored under, whoever asks for it.
        async with serving(StreamHandler(model=model, conversations=store)) as client:
            await ask(client, EVE, "Is this it?", session_key("s", "ada"))
            assert prompts_seen(model) == ["Is this it?"]
        chat = await store.load(session_key("s", "ada"))
        assert [message["content"] for message in chat.messages][0::2] == ["Ada's secret", "And more", "Is all there?"]
        assert (await store.load("s")).messages == []


async def test_lists_pages_and_cursors_are_the_owners(tmp_path: Path) -> None:
    async with handler_on(tmp_path / "chat.db", ScriptedModel("An answer")) as handler, serving(handler) as client:
        for headers in (ADA, EVE):
            for number in range(5):
                await ask(client, headers, f"{headers['X-User']} asks", f"s{number}")
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": 2, "live": "true", **({"before": cursor} if cursor else {})}
            page = (await client.get("/sessions", params=params, headers=ADA)).json()
            assert {session["title"] for session in page["sessions"]} == {"ada asks"}
            found += [session["id"] for session in page["sessions"]]
            cursor = page["before"]
        assert found == ["s4", "s3", "s2", "s1", "s0"]
        assert (await client.get("/sessions/s1", headers=ADA)).json()["id"] == "s1"
        assert len((await client.get("/sessions", headers={"X-User": "somebody"})).json()["sessions"]) == 0
        everything = await handler.sessions().list_sessions({})
        assert isinstance(everything.body, bytes)
        assert {s["id"] for s in json.loads(everything.body)["sessions"]} >= {"ada/s1", "eve/s1"}


async def test_sessions_work_for_their_owner(tmp_path: Path) -> None:
    async with handler_on(tmp_path / "chat.db", ScriptedModel("An answer")) as handler, serving(handler) as client:
        body = {
            "prompt": "Read",
            "sessionId": "s",
            "attachments": [{"mimeType": "text/plain", "data": "aGk=", "name": "n.txt"}],
        }
        await client.post("/stream", json=body, headers=ADA)
        page = (await client.get("/sessions/s", headers=ADA)).json()
        file_id = page["messages"][0]["message"]["content"][1]["file"]["id"]
        file = await client.get(f"/sessions/s/files/{file_id}", headers=ADA)
        assert (file.text, file.headers["vary"]) == ("hi", "Authorization, Cookie")
        exported = await client.get("/sessions/s/export", headers=ADA)
        for headers in (ADA, EVE):  # with the files in it
            made = await client.post("/sessions/import?sessionId=t", content=exported.content, headers=headers)
            assert (made.status_code, made.json()) == (201, {"id": "t"})
            assert (await client.get(f"/sessions/t/files/{file_id}", headers=headers)).text == "hi"
        assert (
            await client.post("/sessions/import?sessionId=t", content=exported.content, headers=ADA)
        ).status_code == 409
        named = await client.post("/title", json={"messages": MESSAGES, "sessionId": "s"}, headers=ADA)
        assert named.text == "An answer"
        assert (await client.get("/sessions/s", headers=ADA)).json()["title"] == "An answer"
        changed = await client.patch("/sessions/s", json={"title": "Mine"}, headers=ADA)
        assert (changed.json()["id"], changed.json()["title"]) == ("s", "Mine")
        for headers in (EVE, ADA):
            assert (await client.delete("/sessions/s", headers=headers)).status_code == 204
            status = (await client.get("/sessions/s", headers=ADA)).status_code
            assert status == (200 if headers is EVE else 404)
        assert (await client.get("/sessions/t", headers=EVE)).status_code == 200


async def test_a_reply_is_its_owners_in_every_process(tmp_path: Path) -> None:
    """``other`` stands for another process: its store object knows nothing of the producer."""
    model = GatedModel()
    async with (
        handler_on(tmp_path / "chat.db", model) as handler,
        handler_on(tmp_path / "chat.db", model) as elsewhere,
        serving(handler) as client,
        serving(elsewhere) as other,
    ):
        body = {"prompt": "Hi", "sessionId": "s"}
        async with client.stream("POST", "/stream", json=body, headers=ADA) as begun:
            stream_id = begun.headers["x-stream-id"]
        for each in (client, other):
            for path in ("/sessions/s/stream", f"/sessions/{session_key('s', 'ada').replace('/', '%2F')}/stream"):
                assert (await each.get(path, headers=EVE)).status_code == 204
            assert (await each.get("/stream/resume", params={"id": stream_id}, headers=EVE)).status_code == 404
            assert (await each.post("/stream/stop", json={"id": stream_id}, headers=EVE)).json() == {"ok": True}
            assert (await each.delete("/sessions/s", headers=EVE)).status_code == 204
            assert (await each.get("/sessions/s", headers=ADA)).json()["liveStream"] == stream_id
        assert handler.live_stream("s", owner="ada") == stream_id
        assert handler.live_stream("s") is None
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(each.stream("GET", path, headers=ADA))
                for each in (client, other)
                for path in ("/sessions/s/stream", f"/stream/resume?id={stream_id}")
            ]
            model.gate.set()
            for response in readers:
                assert response.headers["x-stream-id"] == stream_id
                assert text_of(SseParser().feed(await response.aread())) == "re: Hi"
        for each in (client, other):
            assert (await each.get("/stream/resume", params={"id": stream_id}, headers=EVE)).status_code == 404
        await until(lambda: handler.live_stream("s", owner="ada") is None)
        assert (await handler.recover("s", owner="ada")).chat.messages[-1]["content"] == "re: Hi"
        assert (await handler.recover("s")).chat.messages == []


async def test_the_owner_stops_a_reply_from_any_process(tmp_path: Path) -> None:
    model = GatedModel()
    async with (
        handler_on(tmp_path / "chat.db", model) as handler,
        handler_on(tmp_path / "chat.db", model) as elsewhere,
        serving(handler) as client,
        serving(elsewhere) as other,
    ):
        for each in (client, other):
            async with client.stream("POST", "/stream", json={"prompt": "Hi"}, headers=ADA) as begun:
                stream_id = begun.headers["x-stream-id"]
            assert (await each.post("/stream/stop", json={"id": stream_id}, headers=ADA)).status_code == 200
            response = await other.get("/stream/resume", params={"id": stream_id}, headers=ADA)
            assert SseParser().feed(response.content)[0].event == "stopped"


async def test_an_imported_conversation_gets_nothing_out_of_anothers_stream(tmp_path: Path) -> None:
    async with handler_on(tmp_path / "chat.db", ScriptedModel("Ada's answer")) as handler, serving(handler) as client:
        stream_id = (await ask(client, ADA, "Hi")).headers["x-stream-id"]
        chat = ChatHistory()
        chat.append({"role": "user", "content": "What did she get?"}, {"streamId": stream_id})
        await client.post("/sessions/import?sessionId=mine", content=chat.to_json(), headers=EVE)
        page = (await client.get("/sessions/mine", headers=EVE)).json()
        assert [message["message"]["content"] for message in page["messages"]] == ["What did she get?"]
        assert (page["unanswered"], page["liveStream"]) == ("no stream", None)
        assert page["messages"][0]["metadata"] == {}


async def test_streams_record_their_owner_and_their_session(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as sql:
        await migrate(sql)
        store = SqliteStreamStore(sql)
        handler = StreamHandler(
            model=ScriptedModel("x"), resumable=True, store=store, conversations=SqliteMessageStore(sql)
        )
        async with serving(handler) as client:
            ids = [(await ask(client, ADA, "Hi")).headers["x-stream-id"]]
            for path, body in (("/structured", {"prompt": "Hi"}), ("/chat", {"messages": MESSAGES})):
                ids.append((await client.post(path, json=body, headers=EVE)).headers["x-stream-id"])
        found = {info.stream_id: info.status for info in await store.list_streams()}
        assert [(found[id].owner, found[id].session_id) for id in ids] == [
            ("ada", "ada/s"),
            ("eve", None),
            ("eve", None),
        ]
        assert [session.owner for session in await SqliteMessageStore(sql).list_sessions()] == ["ada"]


# --- keys ---

owners = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(owners, owners, st.text(), st.text())
def test_no_two_sessions_share_a_key(one: str, other: str, session_id: str, other_id: str) -> None:
    keys = {session_key(session_id, one), session_key(other_id, other)}
    assert len(keys) == (1 if (one, session_id) == (other, other_id) else 2)
    assert session_key(session_id, None) == session_id


@given(owners)
def test_a_key_fits_into_kv(owner: str) -> None:
    key = session_key("x" * MAX_SESSION_BYTES, owner)
    assert len(f"aibind:conv:{key}".encode()) <= 512
    assert key.partition("/")[2] == "x" * MAX_SESSION_BYTES


def test_keys_are_these() -> None:
    """Stored: they must stay."""
    assert session_key("s1", "ada") == "ada/s1"
    assert session_key("a/b", "ada@example.com") == "ada@example.com/a/b"
    assert session_key("s", "auth0|7/é") == "auth0%7C7%2F%C3%A9/s"
    assert session_key("s", "x" * 64) == "x" * 64 + "/s"
    assert session_key("s", "x" * 65) == "=9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9/s"
    assert FILE.reference.name == "notes.txt"


# --- requests with an id ---


@pytest.mark.parametrize("path", ["/stream", "/structured", "/chat"])
async def test_a_requests_id_is_its_owners(path: str, tmp_path: Path) -> None:
    model = ScriptedModel('"x"')
    async with handler_on(tmp_path / "chat.db", model) as handler, serving(handler) as client:
        body = {"messages": MESSAGES} if path == "/chat" else {"prompt": "Hi", "sessionId": "s"}
        ids: list[str] = []
        for user in (ADA, EVE, ADA, EVE):
            reply = await client.post(path, json=body, headers={**user, "Idempotency-Key": "the-same"})
            assert reply.status_code == 200
            ids.append(reply.headers["x-stream-id"])
        assert ids == ids[:2] * 2
        assert ids[0] != ids[1]
        assert len(model.requests) == 2
        assert (await client.post(path, json=body, headers={"Idempotency-Key": "the-same"})).status_code == 401
        other = {**body, "system": "Other"}
        refused = await client.post(path, json=other, headers={**ADA, "Idempotency-Key": "the-same"})
        assert refused.status_code == 409
        new = await client.post(path, json=other, headers={"X-User": "joe", "Idempotency-Key": "the-same"})
        assert new.status_code == 200


@pytest.mark.parametrize("on_busy", ["reject", "queue", "interrupt"])
async def test_another_owners_reply_makes_no_session_busy(on_busy: str, tmp_path: Path) -> None:
    model = GatedModel()
    async with handler_on(tmp_path / "chat.db", model) as handler, serving(handler) as client:
        body = {"prompt": "Hi", "sessionId": "s", "onBusy": on_busy}
        async with client.stream("POST", "/stream", json=body, headers=ADA) as begun:
            stream_id = begun.headers["x-stream-id"]
            async with client.stream("POST", "/stream", json=body, headers=EVE) as reply:
                assert reply.status_code == 200
                assert handler.live_stream("s", owner="ada") == stream_id
                model.gate.set()
                assert text_of(SseParser().feed(await reply.aread())) == "re: Hi"
            assert text_of(SseParser().feed(await begun.aread())) == "re: Hi"
