"""A request with an id is answered once, however often and wherever it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import PRODUCER_LOST
from aibind.models import ModelEvent, ModelRequest, TextDelta
from aibind.server import Endpoints, HttpResponse, StreamHandler
from aibind.server.claims import Claim, claim_of
from aibind.sqlite import (
    SqliteClient,
    SqliteConversationStore,
    SqliteMessageStore,
    SqliteStreamStore,
    migrate,
    migrations,
    wrap_sqlite3,
)
from aibind.streams import MemoryStreamStore, SseMessage, SseParser, StreamStore
from aibind.testing import Faults, FaultySqliteClient
from tests.support.models import PATIENCE_S, ScriptedModel
from tests.support.sources import text_of

BODY = {"prompt": "Why?", "sessionId": "s"}
KEY = "2d0fbe36-8f3c-4d4f-a1a5-5f7f1c1d8d3e"
WORDS = ("Because ", "of ", "that.")
CHAT = {"messages": [{"role": "user", "content": "Why?"}]}


def make(
    streams: StreamStore, conversations: ConversationStore | None = None, *, model: Any = None, **options: Any
) -> Endpoints:
    """Return the endpoints of one server."""
    options = {"resumable": True, "store": streams, **options}
    return Endpoints(StreamHandler(model=model or ScriptedModel(*WORDS), conversations=conversations, **options))


async def post(
    endpoints: Endpoints, body: object, key: str | None = KEY, *, endpoint: str = "stream"
) -> HttpResponse[Any]:
    async def read_body() -> bytes:
        return json.dumps(body).encode()

    headers = {"idempotency-key": key} if key is not None else {}
    return await endpoints.answer("POST", f"/__aibind__/{endpoint}", "", headers, read_body)


async def read(reply: HttpResponse[Any]) -> list[SseMessage]:
    assert reply.status == 200, reply.body
    parser = SseParser()
    return [message async for data in reply.body for message in parser.feed(data)]


async def ask(endpoints: Endpoints, body: object, key: str | None = KEY, **options: Any) -> tuple[str, str]:
    """Return the id of the stream that answers a request, and its text."""
    messages = await read(await post(endpoints, body, key, **options))
    assert (messages[0].event, messages[-1].event) == ("stream-id", "done")
    return messages[0].data, text_of(messages)


def error_of(reply: HttpResponse[Any]) -> str:
    return str(json.loads(reply.body)["error"])


@asynccontextmanager
async def two_clients(folder: Path) -> AsyncIterator[tuple[SqliteClient, SqliteClient]]:
    """Open a file twice, as two processes do."""
    async with wrap_sqlite3(folder / "chat.db") as one, wrap_sqlite3(folder / "chat.db") as two:
        await migrate(one)
        yield one, two


@pytest.mark.parametrize("body", [BODY, CHAT, {"prompt": "Why?"}], ids=["session", "chat", "prompt"])
async def test_a_repeated_request_gets_the_first_stream_from_its_start(body: dict[str, Any], tmp_path: Path) -> None:
    async with two_clients(tmp_path) as clients:
        models = [ScriptedModel(*WORDS, rate=50) for _ in clients]
        here, there = (
            make(SqliteStreamStore(client), SqliteMessageStore(client), model=model)
            for client, model in zip(clients, models, strict=True)
        )
        endpoint = "chat" if "messages" in body else "stream"
        replies = [ask(server, body, endpoint=endpoint) for server in (here, there, here, there)]
        first, *others = await asyncio.gather(*replies)
        assert first[1] == "Because of that."
        assert others == [first] * 3
        assert await ask(there, body, endpoint=endpoint) == first  # which has ended
        assert await ask(here, body | {"requestId": KEY}, None, endpoint=endpoint) == first
        assert await ask(here, dict(reversed(body.items())), f'"{KEY}"', endpoint=endpoint) == first
        assert sum(len(model.requests) for model in models) == 1
        if "sessionId" in body:
            chat = await SqliteMessageStore(clients[1]).load("s")
            assert [message["content"] for message in chat.messages] == ["Why?", "Because of that."]
            assert chat.size == 2


async def test_a_structured_request_is_answered_once() -> None:
    model = ScriptedModel('{"a":', "1}")
    server = make(MemoryStreamStore(), model=model)
    first = await read(await post(server, {"prompt": "Why?"}, endpoint="structured"))
    assert [message.data for message in first if message.event == "data"] == ['{"a":1}']
    assert await read(await post(server, {"prompt": "Why?"}, endpoint="structured")) == first
    assert len(model.requests) == 1


async def test_a_repeated_edit_and_regeneration_are_made_once(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        model = ScriptedModel(*WORDS)
        here, there = (
            make(SqliteStreamStore(client), SqliteMessageStore(client), model=model) for client in (one, two)
        )
        await ask(here, BODY)
        store = SqliteMessageStore(one)
        question_id, answer_id = (await store.load("s")).node_ids
        for key, change in (("edit", {"edit": question_id}), ("again", {"regenerate": answer_id})):
            body = {**BODY, "prompt": "And why?", **change}
            assert await ask(here, body, key) == await ask(there, body, key)
        chat = await store.load("s")
        assert chat.size == 5  # two questions, of which one has two answers
        assert len(model.requests) == 3


async def test_another_body_is_refused(tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        here, there = (make(SqliteStreamStore(client), SqliteMessageStore(client)) for client in (one, two))
        first = await ask(here, BODY)
        for change in ({"prompt": "How?"}, {"sessionId": "t"}, {"system": ""}):
            for server in (here, there):
                reply = await post(server, {**BODY, **change}, KEY)
                assert reply.status == 409
                assert "another body" in error_of(reply)
        assert await ask(there, BODY) == first
        assert (await SqliteMessageStore(one).load("t")).is_empty


async def test_ids_are_of_one_endpoint() -> None:
    server = make(MemoryStreamStore())
    ids = {(await ask(server, {"prompt": "Why?"}))[0], (await ask(server, CHAT, endpoint="chat"))[0]}
    ids |= {(await ask(server, {"prompt": "Why?"}, key))[0] for key in ("other", None)}
    assert len(ids) == 4


def test_ids_are_of_one_owner() -> None:
    claims = [claim_of("stream", BODY, KEY, owner=owner) for owner in (None, "", "ada", "bob")]
    assert len({claim.stream_id for claim in claims if claim is not None}) == 4


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 201, '""', "a\n", "{}", '"a'])
async def test_a_wrong_id_is_refused(key: str) -> None:
    server = make(MemoryStreamStore())
    assert (await post(server, BODY, key)).status == 400
    assert (await post(server, {**BODY, "requestId": key}, None)).status == 400


@pytest.mark.parametrize("named", [1, [], {}, True, "\ud800"])
async def test_an_id_in_the_body_is_text(named: object) -> None:
    reply = await post(make(MemoryStreamStore()), {**BODY, "requestId": named}, None)
    assert (reply.status, error_of(reply)[:12]) == (400, "requestId mu")


async def test_two_ids_must_be_the_same() -> None:
    server = make(MemoryStreamStore())
    reply = await post(server, {**BODY, "requestId": "x"})
    assert (reply.status, error_of(reply)) == (400, "Idempotency-Key and requestId differ: send one of them")
    await ask(server, {**BODY, "requestId": KEY})
    await ask(server, {**BODY, "requestId": "x" * 200}, None)


async def test_a_server_whose_replies_cannot_be_resumed_refuses_ids() -> None:
    server = Endpoints(StreamHandler(model=ScriptedModel("x")))
    for body, key in ((BODY, KEY), ({**BODY, "requestId": KEY}, None)):
        reply = await post(server, body, key)
        assert reply.status == 400
        assert "leave out Idempotency-Key" in error_of(reply)
    assert (await post(server, BODY, None)).status == 200


@pytest.mark.parametrize("backend", ["memory", "rows", "json"])
async def test_an_id_expires_with_its_stream(backend: str, tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, _):
        model = ScriptedModel(*WORDS)
        streams: StreamStore = MemoryStreamStore(ttl_ms=1) if backend == "memory" else SqliteStreamStore(one, ttl_ms=1)
        conversations: ConversationStore = MemoryConversationStore()
        if backend != "memory":
            conversations = SqliteMessageStore(one) if backend == "rows" else SqliteConversationStore(one)
        server = make(streams, conversations, model=model)
        for count in (1, 2, 3):
            stream_id, _ = await read_by_id(server)
            assert len(model.requests) == count
            while await streams.get_status(stream_id) is not None:
                await asyncio.sleep(0.002)
        chat = await conversations.load("s")
        assert [message["content"] for message in chat.messages] == ["Why?", "Because of that."] * 3
        await ask(server, {**BODY, "prompt": "How?"})  # another body is as good now


async def read_by_id(server: Endpoints) -> tuple[str, list[SseMessage]]:
    reply = await post(server, BODY)
    return reply.headers["X-Stream-Id"], await read(reply)


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("kind", [SqliteMessageStore, SqliteConversationStore])
async def test_a_question_that_could_not_be_stored_is_asked_once(kind: Any, fault: Any, tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        model = ScriptedModel(*WORDS)
        faulty = FaultySqliteClient(one, Faults(script=[fault]))
        server = make(SqliteStreamStore(one), kind(faulty), model=model)
        reply = await post(server, BODY)
        assert (reply.status, len(model.requests)) == (503, 0)
        assert (await one.execute("SELECT id FROM aibind_stream_status")).rows == []
        stream_id, text = await ask(make(SqliteStreamStore(two), kind(two), model=model), BODY)
        assert (await ask(server, BODY), text) == ((stream_id, text), "Because of that.")
        chat = await kind(two).load("s")
        assert [message["content"] for message in chat.messages] == ["Why?", "Because of that."]
        assert (chat.size, len(model.requests)) == (2, 1)


async def test_a_stream_whose_creation_is_not_confirmed_is_begun_once(tmp_path: Path) -> None:
    """The answer to its creation is lost, or that of another server's crosses it."""
    async with two_clients(tmp_path) as (one, two):
        model = ScriptedModel(*WORDS, rate=50)
        here = make(
            SqliteStreamStore(FaultySqliteClient(one, Faults(script=["after"]))), SqliteMessageStore(one), model=model
        )
        there = make(
            SqliteStreamStore(FaultySqliteClient(two, Faults(script=["before", "before"]))),
            SqliteMessageStore(two),
            model=model,
        )
        replies = await asyncio.gather(ask(here, BODY), ask(there, BODY))
        assert replies[0] == replies[1]
        assert len(model.requests) == 1
        assert (await SqliteMessageStore(two).load("s")).size == 2


@pytest.mark.parametrize("kind", [SqliteMessageStore, SqliteConversationStore])
async def test_a_request_that_is_cancelled_anywhere_can_be_repeated(kind: Any, tmp_path: Path) -> None:
    """As by a framework whose client has gone."""
    async with two_clients(tmp_path) as (one, two):
        model = ScriptedModel(*WORDS)
        here, there = (make(SqliteStreamStore(client), kind(client), model=model) for client in (one, two))
        cancelled = 0
        for number in range(60):
            body = {**BODY, "sessionId": f"{number}"}
            asking = asyncio.create_task(post(here, body, f"key-{number}"))
            await asyncio.sleep(number * 0.0001)
            asking.cancel()
            await asyncio.wait([asking])
            cancelled += asking.cancelled()
            assert (await ask(there, body, f"key-{number}"))[1] == "Because of that."
            async with asyncio.timeout(PATIENCE_S):  # the end of a stream and the answer are stored side by side
                while (chat := await kind(two).load(f"{number}")).size < 2:
                    await asyncio.sleep(0.01)
            assert ([message["content"] for message in chat.messages], chat.size) == (["Why?", "Because of that."], 2)
        assert cancelled > 1
        assert len(model.requests) == 60


@pytest.mark.parametrize("kind", [SqliteMessageStore, SqliteConversationStore])
async def test_a_server_killed_before_it_stored_the_question(kind: Any, tmp_path: Path) -> None:
    async with two_clients(tmp_path) as (one, two):
        claim = claim_of("stream", BODY, KEY)
        assert isinstance(claim, Claim)
        # What a server has done that is killed now.
        await SqliteStreamStore(one, lease_ms=400).create(claim.stream_id, session_id="s", request=claim.mark)
        model = ScriptedModel(*WORDS)
        server = make(SqliteStreamStore(two, lease_ms=400), kind(two), model=model)
        replies = await asyncio.gather(post(server, BODY), post(server, BODY))
        for reply in replies:
            messages = await read(reply)
            assert [(message.event, message.data) for message in messages] == [
                ("stream-id", claim.stream_id),
                ("error", PRODUCER_LOST),
                ("done", ""),
            ]
        await read(await post(server, BODY))
        chat = await kind(two).load("s")
        assert ([message["content"] for message in chat.messages], chat.size) == (["Why?"], 1)
        assert model.requests == []
        await ask(server, {"regenerate": chat.node_ids[0], "sessionId": "s"}, "another")
        assert [message["content"] for message in (await kind(one).load("s")).messages] == ["Why?", "Because of that."]


@pytest.mark.parametrize("applied", [1, 4], ids=["JavaScript's", "without the last migration"])
async def test_a_table_without_the_column_cannot_refuse_another_body(applied: int, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        for step in migrations()[:applied]:
            for statement in step.statements:
                await client.execute(statement)
        model = ScriptedModel(*WORDS)
        store = SqliteStreamStore(client)
        server = make(store, model=model)
        first = await ask(server, {"prompt": "Why?"})
        assert await ask(server, {"prompt": "Why?"}) == first
        assert await ask(server, {"prompt": "How?"}) == first
        assert len(model.requests) == 1
        await store.create("s", session_id="c")
        assert list(await store.live_streams("c")) == (["s"] if applied == 4 else [])


async def test_a_request_stopped_before_its_model_is_asked() -> None:
    """The stop arrives while the question is stored."""

    class Slow(MemoryConversationStore):
        async def save(self, session_id: str, chat: Any) -> None:
            (stream_id,) = await streams.live_streams("s")
            await streams.stop(stream_id)
            await asyncio.sleep(0.3)  # the writer looks four times a second
            await super().save(session_id, chat)

    class Never:
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            raise AssertionError("asked")
            yield TextDelta("")

    streams = MemoryStreamStore()
    server = make(streams, Slow(), model=Never())
    for _ in range(2):
        assert [message.event for message in await read(await post(server, BODY))] == ["stream-id", "stopped", "done"]


async def test_pages_of_other_sites_may_send_the_header() -> None:
    from starlette.testclient import TestClient

    from aibind.server import create_app

    app = create_app(StreamHandler(model=ScriptedModel("x")), cors_origins=["https://a.example"])
    asked = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "idempotency-key,content-type",
    }
    assert TestClient(app).options("/__aibind__/stream", headers=asked).status_code == 200
