"""Sessions over HTTP in a Worker: the same endpoints, on D1, without a socket."""

from __future__ import annotations

import json
from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.models import EchoModel
from aibind.server import Endpoints, StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore

from .bench import Bench, checks_of_each_kind

check = checks_of_each_kind

SESSION = "a%2Fb"


class _Client:
    """Endpoints of a handler with stores on D1, as a Worker makes one for each request."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def ask(self, method: str, path: str, query: str = "", body: bytes = b"") -> tuple[int, bytes]:
        client = wrap_d1(self._bench.db)
        handler = StreamHandler(
            model=EchoModel(tokens_per_second=0),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
        )

        async def read_body() -> bytes:
            return body

        answer = await Endpoints(handler).answer(method, f"/__aibind__/{path}", query, {}, read_body)
        if isinstance(answer.body, bytes):
            return answer.status, answer.body
        return answer.status, b"".join([data async for data in answer.body])


@check
async def sessions_are_served(bench: Bench) -> None:
    client = _Client(bench)
    turn = json.dumps({"prompt": "/short Hello there", "sessionId": "a/b"}).encode()
    status, reply = await client.ask("POST", "stream", body=turn)
    assert (status, reply[-20:]) == (200, b"event: done\ndata: \n\n")

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
