"""The router for FastAPI: the same answers, with dependencies, and in the OpenAPI document."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Body, Depends, FastAPI, Header, HTTPException, Request
from fastapi.security import HTTPBearer

from aibind.conversations import MemoryConversationStore
from aibind.server import Access, StreamHandler, Tool, create_router
from aibind.server.openapi import OPERATIONS
from aibind.server.requests import ChatBody, CompactBody, CompleteBody, StreamBody, TitleBody
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import SseParser
from tests.server.test_authorize import ASKED, MESSAGES, CallingModel, user
from tests.support.http import serve
from tests.support.models import PATIENCE_S, ScriptedModel
from tests.support.sources import text_of

ADA, EVE = {"X-User": "ada"}, {"X-User": "eve"}


def user_id(x_user: Annotated[str | None, Header()] = None) -> str:
    if x_user is None:
        raise HTTPException(401, "Who are you?")
    return x_user


def access_of(name: Annotated[str, Depends(user_id)]) -> Access | None:
    return None if name == "nobody" else Access(name, f"{name}'s context")


@asynccontextmanager
async def handler_on(folder: Path, model: Any) -> AsyncIterator[StreamHandler]:
    async with wrap_sqlite3(folder / "chat.db") as client:
        await migrate(client)
        streams, conversations = SqliteStreamStore(client), SqliteMessageStore(client)
        handler = StreamHandler(model=model, resumable=True, store=streams, conversations=conversations)
        yield handler
        await handler.aclose()


@asynccontextmanager
async def client_of(router: Any, *, prefix: str = "", **options: Any) -> AsyncIterator[Any]:
    app = FastAPI(**options)
    app.include_router(router, prefix=prefix)
    async with (
        serve(app) as url,
        httpx2.AsyncClient(base_url=f"{url}{prefix}/__aibind__", trust_env=False, timeout=PATIENCE_S) as client,
    ):
        yield client


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_it_answers_as_the_app_does(prefix: str, tmp_path: Path) -> None:
    model = ScriptedModel("Hello ", "world")
    async with (
        handler_on(tmp_path, model) as handler,
        client_of(create_router(handler, access=access_of), prefix=prefix) as client,
    ):
        reply = await client.post("/stream", json={"prompt": "Hi", "sessionId": "a/b c"}, headers=ADA)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
        assert text_of(SseParser().feed(reply.content)) == "Hello world"
        assert model.requests[-1].context == "ada's context"
        resume = {"id": reply.headers["x-stream-id"]}
        resumed = await client.get("/stream/resume", params=resume, headers=ADA)
        assert text_of(SseParser().feed(resumed.content)) == "Hello world"
        assert (await client.get("/stream/resume", params=resume, headers=EVE)).status_code == 404
        page = await client.get("/sessions/a%2Fb%20c", headers=ADA)
        assert (page.status_code, page.json()["id"]) == (200, "a/b c")
        again = await client.get("/sessions/a%2Fb%20c", headers={**ADA, "If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        exported = await client.get("/sessions/a%2Fb%20c/export", headers=ADA)
        made = await client.post("/sessions/import?sessionId=x%2Fstream", content=exported.content, headers=ADA)
        assert (made.status_code, made.json()) == (201, {"id": "x/stream"})
        assert (await client.get("/sessions/x%2Fstream", headers=ADA)).json()["id"] == "x/stream"
        assert (await client.get("/sessions/x%2Fstream/stream", headers=ADA)).status_code == 204
        assert (await client.patch("/sessions/import", json={"title": "T"}, headers=ADA)).status_code == 404
        assert (await client.delete("/sessions/x%2Fstream", headers=ADA)).status_code == 204
        assert len((await client.get("/sessions", headers=ADA)).json()["sessions"]) == 1
        assert (await client.get("/sessions", headers=EVE)).json() == {"sessions": [], "before": None}
        assert (await client.post("/chat", content=b"{nope", headers=ADA)).json() == {
            "error": "The body is not valid JSON"
        }


async def test_what_a_dependency_refuses_is_refused(tmp_path: Path) -> None:
    model = ScriptedModel("x")
    async with (
        handler_on(tmp_path, model) as handler,
        client_of(create_router(handler, access=access_of)) as client,
    ):
        for method, path, body, _ in ASKED:
            refused = await client.request(method, path, json=body)
            assert (refused.status_code, refused.json()) == (401, {"detail": "Who are you?"})
            refused = await client.request(method, path, json=body, headers={"X-User": "nobody"})
            assert (refused.status_code, refused.json()) == (401, {"error": "Sign in first"})
    assert model.requests == []


async def test_authorize_sees_what_dependencies_left(tmp_path: Path) -> None:
    asked: list[Any] = []

    async def leave(request: Request, body: Annotated[Any, Body()] = None) -> None:
        """Read the body, which is to be there for the endpoint all the same."""
        request.state.user = request.headers.get("x-user")
        request.state.body = body

    async def authorize(request: Any, *what: Any) -> str | None:
        asked.append(what)
        if request.state.user == "eve":
            raise HTTPException(403, "You may only read")
        user: str | None = request.state.user
        return user

    async with handler_on(tmp_path, ScriptedModel("x")) as handler:
        router = create_router(handler, authorize=authorize)
        async with client_of(router, dependencies=[Depends(leave)]) as client:
            for method, path, body, expected in ASKED:
                assert (await client.request(method, path, json=body)).status_code == 401
                assert asked.pop() == expected
            refused = await client.post("/complete", json={"input": "Hi"}, headers=EVE)
            assert (refused.status_code, refused.json()) == (403, {"error": "You may only read"})
            reply = await client.post("/complete", json={"input": "Hi"}, headers=ADA)
            assert (reply.status_code, reply.text) == (200, "x")


async def test_a_large_body_is_refused(tmp_path: Path) -> None:
    async with (
        handler_on(tmp_path, ScriptedModel("x")) as handler,
        client_of(create_router(handler, max_body_bytes=100)) as client,
    ):
        for body, status in (({"input": "x"}, 200), ({"input": "x" * 100}, 413)):
            assert (await client.post("/complete", json=body)).status_code == status


async def test_it_is_in_the_openapi_document(tmp_path: Path) -> None:
    def access_by_token(token: Annotated[Any, Depends(HTTPBearer())]) -> str:
        return str(token.credentials)

    async with (
        handler_on(tmp_path, ScriptedModel("x")) as handler,
        client_of(create_router(handler, access=access_by_token)) as client,
    ):
        document = (await client.get("../openapi.json")).json()
        assert (await client.get("/sessions", headers={"Authorization": "Bearer ada"})).status_code == 200
        assert (await client.get("/sessions")).status_code in (401, 403)
    paths = document["paths"]
    for operation in OPERATIONS:
        described = paths[f"/__aibind__{operation.path}"][operation.method.lower()]
        assert described["summary"] == operation.summary
        assert described["security"] == [{"HTTPBearer": []}]
        assert str(operation.status) in described["responses"]
        assert ("requestBody" in described) == (operation.body is not None)
        named = {parameter["name"] for parameter in described.get("parameters", [])}
        assert named == {
            *operation.query,
            *operation.headers,
            *(name for name in ("session_id", "file_id") if name in operation.path),
        }
    assert sum(map(len, paths.values())) == len(OPERATIONS) == 18


@pytest.mark.parametrize(
    ("action", "parsed", "differences"),
    [
        ("stream", StreamBody, {"schema", "requestId", "onBusy"}),
        ("structured", StreamBody, {"requestId", "onBusy"}),
        ("chat", ChatBody, {"requestId"}),
        ("complete", CompleteBody, set[str]()),
        ("title", TitleBody, set[str]()),
        ("compact", CompactBody, set[str]()),
    ],
)
def test_bodies_are_described_as_they_are_parsed(action: str, parsed: Any, differences: set[str]) -> None:
    body = next(operation.body for operation in OPERATIONS if operation.action == action)
    assert body is not None
    names = {re.sub("_(.)", lambda found: found[1].upper(), field.name) for field in fields(parsed)}
    assert set(body["properties"]) ^ names == differences


async def test_javascript_clients_find_endpoints_that_are_not_described(tmp_path: Path) -> None:
    async with handler_on(tmp_path, ScriptedModel("x")) as handler, client_of(create_router(handler)) as client:
        reply = await client.post("/structured", json={"prompt": "Hi"})
        resume = {"id": reply.headers["x-stream-id"], "after": "0"}
        for endpoint in ("stream", "structured", "chat"):
            assert (await client.get(f"/{endpoint}/resume", params=resume)).status_code == 200
            assert (await client.post(f"/{endpoint}/stop", json={"id": resume["id"]})).json() == {"ok": True}
            assert (await client.post(f"/{endpoint}/compact", json={"messages": MESSAGES})).json()["summary"] == "x"


async def test_what_a_handler_cannot_do_is_not_described() -> None:
    plain = FastAPI()
    plain.include_router(
        create_router(StreamHandler(model=ScriptedModel("x"), conversations=MemoryConversationStore()))
    )
    assert set(plain.openapi()["paths"]) == {
        f"/__aibind__/{name}" for name in ("stream", "structured", "chat", "complete", "title", "compact")
    }
    async with client_of(create_router(StreamHandler(model=ScriptedModel("x")))) as client:
        assert (await client.get("/sessions")).status_code == 501
        assert (await client.post("/stream/stop", json={"id": "x"})).status_code == 404
        assert (await client.post("/chat", json={"messages": MESSAGES})).status_code == 200


def test_it_takes_one_of_two() -> None:
    with pytest.raises(ValueError, match="either authorize or access"):
        create_router(StreamHandler(model=ScriptedModel("x")), authorize=lambda *_: "ada", access=access_of)


@pytest.mark.parametrize(
    ("missing", "call", "packages"),
    [
        ("fastapi", "create_router(handler)", 'fastapi "aibind[server]"'),
        ("starlette", "create_app(handler, authorize=print)", '"aibind[server]"'),
    ],
)
def test_what_is_missing_is_named(missing: str, call: str, packages: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from aibind.models import EchoModel
from aibind.server import StreamHandler, create_app, create_router
handler = StreamHandler(model=EchoModel())
create_app(handler)
try:
    {call}
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"needs {missing}: install it with pip install {packages}" in run.stdout


async def test_a_context_variable_of_an_async_dependency_reaches_tools() -> None:
    async def sign_in(name: Annotated[str, Depends(user_id)]) -> str:
        user.set(name)
        return name

    async def whoami() -> str:
        return user.get()

    tools = {"mine": [Tool("whoami", "Says who asks", whoami)]}
    handler = StreamHandler(model=CallingModel(), resumable=True, toolsets=tools)
    async with client_of(create_router(handler, access=sign_in)) as client:
        reply = await client.post("/stream", json={"prompt": "Who am I?", "toolset": "mine"}, headers=ADA)
    assert text_of(SseParser().feed(reply.content)) == '"ada"'
