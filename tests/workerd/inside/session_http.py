"""Sessions over HTTP in a Worker: the same endpoints, on D1, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aibind.cloudflare import KVConversationStore, wrap_d1
from aibind.models import EchoModel
from aibind.server import Endpoints, HttpRequest, StreamHandler, Tool, session_key
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore

from .bench import Bench, checks_of_each_kind, checks_once

check = checks_of_each_kind

SESSION = "a%2Fb"


class _Client:
    """Endpoints of a handler with stores on D1, as a Worker makes one for each request.

    With a ``user`` they are asked for that user; with ``in_kv`` conversations are in KV. ``tools`` are in the toolset
    ``hands``.
    """

    def __init__(
        self, bench: Bench, user: str | None = None, *, in_kv: bool = False, tools: tuple[Tool, ...] = ()
    ) -> None:
        self._bench = bench
        self._tools = tools
        self._user = user
        self._in_kv = in_kv

    async def ask(self, method: str, path: str, query: str = "", body: bytes = b"") -> tuple[int, bytes]:
        client = wrap_d1(self._bench.db)
        conversations = KVConversationStore(self._bench.kv) if self._in_kv else SqliteMessageStore(client)
        handler = StreamHandler(
            model=EchoModel(tokens_per_second=0),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=conversations,
            toolsets={"hands": self._tools},
        )

        async def read_body() -> bytes:
            return body

        endpoints = Endpoints(handler, authorize=_by_header if self._user is not None else None)
        headers = {"cf-access-user": self._user or ""}
        answer = await endpoints.answer(method, f"/__aibind__/{path}", query, headers, read_body)
        if isinstance(answer.body, bytes):
            return answer.status, answer.body
        return answer.status, b"".join([data async for data in answer.body])


async def _by_header(request: HttpRequest, action: str, session_id: str | None, stream_id: str | None) -> str | None:
    return request.headers["cf-access-user"] or None


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def owners_are_kept_apart(bench: Bench) -> None:
    ada, eve, nobody = _Client(bench, "ada"), _Client(bench, "eve"), _Client(bench, "")
    for number, client in enumerate((ada, eve, ada)):
        turn = json.dumps({"prompt": f"/short Turn {number}", "sessionId": "s"}).encode()
        assert (await client.ask("POST", "stream", body=turn))[0] == 200
        assert (await nobody.ask("POST", "stream", body=turn))[0] == 401
    for client, turns in ((ada, ["/short Turn 0", "/short Turn 2"]), (eve, ["/short Turn 1"])):
        page = json.loads((await client.ask("GET", "sessions/s"))[1])
        assert [message["message"]["content"] for message in page["messages"][::2]] == turns
        assert len(json.loads((await client.ask("GET", "sessions"))[1])["sessions"]) == 1
    assert (await eve.ask("GET", "sessions/ada%2Fs"))[0] == 404

    store = SqliteStreamStore(wrap_d1(bench.db))
    await store.create("of ada", owner="ada")
    is_recorded = await store.get_status("of ada", owner="ada") is not None
    for client, is_own in ((eve, False), (ada, is_recorded)):
        assert (await client.ask("POST", "stream/stop", body=b'{"id": "of ada"}')) == (200, b'{"ok":true}')
        status = await store.get_status("of ada")
        assert status is not None
        assert status.is_active != is_own
        assert (await client.ask("GET", "stream/resume", "id=of+ada"))[0] == (200 if is_own else 404)


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def a_call_that_was_allowed_is_run_once(bench: Bench) -> None:
    acted: list[int] = []

    async def act() -> str:
        acted.append(1)
        return "acted"

    client = _Client(bench, tools=(Tool("act", "Acts", act, needs_approval=True),))
    turn = json.dumps({"prompt": "/tools now", "sessionId": "s", "toolset": "hands"}).encode()
    assert (await client.ask("POST", "stream", body=turn))[0] == 200
    [call] = json.loads((await client.ask("GET", "sessions/s/approvals"))[1])["approvals"]
    assert (call["name"], call["state"], acted) == ("act", "waiting", [])
    yes = json.dumps({"approvals": {call["id"]: True}}).encode()
    answers = await asyncio.gather(*(client.ask("POST", "sessions/s/approvals", body=yes) for _ in range(3)))
    assert [status for status, _ in answers] == [200] * 3
    for _, body in answers:
        assert b"event: tool_result" in body, body
        assert b"event: error" not in body, body
    assert acted == [1]
    no = json.dumps({"approvals": {call["id"]: False}}).encode()
    assert (await client.ask("POST", "sessions/s/approvals", body=no))[0] == 409
    assert json.loads((await client.ask("GET", "sessions/s"))[1])["approvals"] == []


@check
async def owners_are_kept_apart_in_kv(bench: Bench) -> None:
    owner = "an owner whose name is too long for a key, " * 20
    for user, client in ((user, _Client(bench, user, in_kv=True)) for user in (owner, "eve")):
        turn = json.dumps({"prompt": "/short Hi", "sessionId": "s" * 400}).encode()
        assert (await client.ask("POST", "stream", body=turn))[0] == 200
        chat = await KVConversationStore(bench.kv).load(session_key("s" * 400, user))
        assert [message["role"] for message in chat.messages] == ["user", "assistant"]


@checks_once  # it takes seconds, in which the kind of binding makes no difference
async def sessions_are_served(bench: Bench) -> None:
    client = _Client(bench)
    turn = json.dumps({"prompt": "/short Hello there", "sessionId": "a/b"}).encode()
    status, reply = await client.ask("POST", "stream", body=turn)
    assert (status, reply.rpartition(b"event: ")[2][:4]) == (200, b"done")

    status, listed = await client.ask("GET", "sessions", "live=true")
    (row,) = json.loads(listed)["sessions"]
    assert (status, row["id"], row["title"], row["liveStream"]) == (200, "a/b", "Hello there", None)
    status, opened = await client.ask("GET", f"sessions/{SESSION}")
    page: dict[str, Any] = json.loads(opened)
    assert [each["message"]["role"] for each in page["messages"]] == ["user", "assistant"]
    assert (status, page["unanswered"]) == (200, None)

    await SqliteStreamStore(wrap_d1(bench.db)).create("elsewhere", session_id="a/b")
    status, opened = await client.ask("GET", f"sessions/{SESSION}")
    assert json.loads(opened)["liveStream"] == "elsewhere"
    status, exported = await client.ask("GET", f"sessions/{SESSION}/export")
    assert status == 200
    assert (await client.ask("DELETE", f"sessions/{SESSION}"))[0] == 204
    assert (await client.ask("GET", f"sessions/{SESSION}"))[0] == 404
    assert (await client.ask("GET", f"sessions/{SESSION}/stream"))[0] == 204

    status, imported = await client.ask("POST", "sessions/import", "sessionId=copy&title=A%20copy", exported)
    assert (status, json.loads(imported)) == (201, {"id": "copy"})
    status, changed = await client.ask("PATCH", "sessions/copy", body=b'{"title": "Renamed"}')
    assert (status, json.loads(changed)["title"]) == (200, "Renamed")
