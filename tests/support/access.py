"""Every endpoint asked by the owner of what it names, by another user, by nobody, and for what does not exist."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx2

from aibind.conversations import StoredFile
from aibind.history import ChatHistory
from aibind.server import Access, StreamHandler, create_app, session_key
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import StreamEnd
from tests.support.http import serve
from tests.support.models import PATIENCE_S, GatedModel, ScriptedModel

__all__ = ["CASES", "Row", "fill_table"]

Who: TypeAlias = Literal["owner", "other", "nobody", "unknown", "control"]
"""``control`` is ``unknown`` once more: what its time differs by is noise."""

USERS: Mapping[Who, str | None] = {
    "owner": "ada", "other": "eve", "nobody": None, "unknown": "eve", "control": "eve"
}  # fmt: skip

FILE = StoredFile.of(b"the file of a session", "text/plain", "notes.txt")


def a_chat() -> ChatHistory:
    """Make a conversation of a few turns."""
    chat = ChatHistory()
    for number in range(3):
        chat.append({"role": "user", "content": f"Question {number}"})
        chat.append({"role": "assistant", "content": "An answer " * 50})
    return chat


EXPORT = a_chat().to_json()

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARTIAL = re.compile(r"^event: partial\nid: \d+\ndata: .*\n\n|^id: \d+\n", re.MULTILINE)
"""How many partial answers come, and so the ids after them, depends on the time that the model takes."""


@dataclass(frozen=True, slots=True)
class Case:
    """An endpoint: what the id in its request is of, what is sent, and the status for the owner and for others."""

    name: str
    of: Literal["session", "ended stream", "live stream"] | None
    method: str
    path: str
    statuses: tuple[int, int]
    json: Callable[[str], Any] | None = None
    content: str | None = None


def _sessions(method: str, tail: str, statuses: tuple[int, int], json: Callable[[str], Any] | None = None) -> Case:
    return Case(f"{method} sessions/{{id}}{tail}", "session", method, f"/sessions/{{id}}{tail}", statuses, json)


_MESSAGES = [{"role": "user", "content": "Hi"}]

CASES = (
    Case("POST stream", "session", "POST", "/stream", (200, 200), lambda id: {"prompt": "Hi", "sessionId": id}),
    Case("POST structured", "session", "POST", "/structured", (200, 200), lambda id: {"prompt": "?", "sessionId": id}),
    Case("POST chat", None, "POST", "/chat", (200, 200), lambda id: {"messages": _MESSAGES}),
    Case("POST complete", None, "POST", "/complete", (200, 200), lambda id: {"input": "Hi"}),
    Case("POST title", "session", "POST", "/title", (200, 200), lambda id: {"messages": _MESSAGES, "sessionId": id}),
    Case("POST compact", "session", "POST", "/compact", (200, 200), lambda id: {"messages": [], "sessionId": id}),
    Case("GET stream/resume, ended", "ended stream", "GET", "/stream/resume?id={id}", (200, 404)),
    Case("GET stream/resume, live", "live stream", "GET", "/stream/resume?id={id}", (200, 404)),
    Case("POST stream/stop, ended", "ended stream", "POST", "/stream/stop", (200, 200), lambda id: {"id": id}),
    Case("POST stream/stop, live", "live stream", "POST", "/stream/stop", (200, 200), lambda id: {"id": id}),
    Case("GET structured/resume, live", "live stream", "GET", "/structured/resume?id={id}", (200, 404)),
    Case("POST chat/stop, live", "live stream", "POST", "/chat/stop", (200, 200), lambda id: {"id": id}),
    Case(
        "POST stream/compact", "session", "POST", "/stream/compact", (200, 200),
        lambda id: {"messages": [], "sessionId": id},
    ),
    Case("GET sessions", None, "GET", "/sessions", (200, 200)),
    _sessions("GET", "", (200, 404)),
    _sessions("PATCH", "", (200, 404), lambda id: {"title": "Changed"}),
    _sessions("GET", "/stream", (204, 204)),
    _sessions("GET", "/export", (200, 404)),
    _sessions("GET", "/approvals", (200, 200)),
    _sessions("POST", "/approvals", (404, 404), lambda id: {"approvals": {"call": True}}),
    Case(
        "GET sessions/{id}/files/{file}",
        "session",
        "GET",
        f"/sessions/{{id}}/files/{FILE.reference.sha256}",
        (200, 404),
    ),
    Case(
        "POST sessions/import", "session", "POST", "/sessions/import?sessionId={id}", (409, 201), None, EXPORT
    ),
    _sessions("DELETE", "", (204, 204)),
)  # fmt: skip


@dataclass(slots=True)
class Row:
    """What became of a case: the answers by who asked, and how long they took."""

    name: str
    names_an_id: bool
    answers: dict[Who, set[tuple[int, str]]] = field(default_factory=dict[Who, set[tuple[int, str]]])
    seconds: dict[Who, list[float]] = field(default_factory=dict[Who, list[float]])

    def statuses(self, who: Who) -> list[int]:
        """Return the statuses that somebody got."""
        return sorted({status for status, _ in self.answers.get(who, ())})

    def median_us(self, who: Who) -> float:
        """Return the median time of an answer, in microseconds."""
        return statistics.median(self.seconds[who]) * 1e6

    @property
    def is_same(self) -> bool:
        """Whether another's id was always answered as an unknown one, in status, headers and body."""
        return self.answers["other"] == self.answers["unknown"]


async def fill_table(database: Path, rounds: int) -> tuple[list[Row], bool]:
    """Ask every endpoint so many times, in random order; return the rows, and whether all of the owner's is unharmed.

    Each request of a case names an id of its own, since another's id that a turn was begun with is one's own from then
    on. The owner asks last, as some of these requests remove what they name.
    """
    async with _serving(database) as place:
        rows: list[Row] = []
        unharmed = True
        for case in CASES:
            row = Row(case.name, case.of is not None)
            rows.append(row)
            owned = await place.make(case, rounds)
            before = await place.look()
            plan: list[tuple[Who, str]] = [("other", id) for id in owned]
            kinds: tuple[Who, ...] = ("nobody", "unknown", "control") if case.of else ("nobody",)
            plan += [(who, place.unknown(case)) for who in kinds for _ in owned]
            random.shuffle(plan)
            for who, id in plan:
                await place.ask(case, row, who, id)
            unharmed &= await place.look() == before
            for id in owned:
                await place.ask(case, row, "owner", id)
        return rows, unharmed


class _Place:
    """A served handler, and what it stores in."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        handler: StreamHandler,
        streams: SqliteStreamStore,
        conversations: SqliteMessageStore,
        gate: asyncio.Event,
    ) -> None:
        self._client = client
        self._handler = handler
        self._streams = streams
        self._conversations = conversations
        self._gate = gate
        self._count = 0

    def unknown(self, case: Case) -> str:
        """Return an id of the right form that nobody has."""
        self._count += 1
        return f"session-{self._count:09}" if case.of == "session" else str(uuid.uuid4())

    async def make(self, case: Case, rounds: int) -> list[str]:
        """Make what the owner has, and return its ids."""
        ids = [self.unknown(case) for _ in range(rounds)]
        if case.of == "live stream":
            self._gate.clear()
            body = {"prompt": "Wait", "model": "gated"}
            for number in range(rounds):
                # A few are enough, and are asked about in turn: that nobody may do anything to them is what is tested.
                ids[number] = ids[number % 10] if number >= 10 else await self._begin(body)
            return ids
        for id in ids:
            if case.of == "session":
                key = session_key(id, "ada")
                chat = a_chat()
                await self._conversations.save(key, chat, owner="ada", title="Mine")
                message_id = chat.tree.root_ids[0]
                await self._conversations.put_files(key, message_id, [FILE])
            elif case.of == "ended stream":
                await self._streams.create(id, owner="ada")
                await self._streams.finish(id, StreamEnd("done"), chunks=["text " * 20] * 20)
        return ids

    async def _begin(self, body: Mapping[str, Any]) -> str:
        response = await self._handler.stream(body, access=Access("ada"))
        assert not isinstance(response.body, bytes)
        await response.body.aclose()
        return response.headers["X-Stream-Id"]

    async def look(self) -> object:
        """Return all that the owner has, as far as a request could change it."""
        sessions = await self._conversations.list_sessions(owner="ada", limit=1_000_000)
        streams = await self._streams.list_streams(owner="ada", limit=1_000_000)
        return sessions, [(info.stream_id, info.status.state, info.status.total_chunks) for info in streams]

    async def ask(self, case: Case, row: Row, who: Who, id: str) -> None:
        """Send a request, and note its answer."""
        user = USERS[who]
        request = self._client.build_request(
            case.method,
            case.path.replace("{id}", id),
            json=case.json(id) if case.json else None,
            content=case.content,
            headers={"X-User": user} if user else {},
        )
        is_endless = case.of == "live stream" and case.method == "GET" and who == "owner"
        began = time.perf_counter()
        response = await self._client.send(request, stream=True)
        text = "" if is_endless else (await response.aread()).decode()
        row.seconds.setdefault(who, []).append(time.perf_counter() - began)
        await response.aclose()
        headers = {name: value for name, value in response.headers.items() if name != "date"}
        shown = _PARTIAL.sub("", _UUID.sub("…", f"{headers}\n{text}".replace(id, "…")))
        row.answers.setdefault(who, set()).add((response.status_code, shown))


@contextlib.asynccontextmanager
async def _serving(database: Path) -> AsyncIterator[_Place]:
    def authorize(request: Any, action: str, session_id: str | None, stream_id: str | None) -> str | None:
        user: str | None = request.headers.get("x-user")
        return user

    gated = GatedModel()
    async with wrap_sqlite3(database) as client:
        await migrate(client)
        # Nothing expires while it is looked at.
        streams, conversations = SqliteStreamStore(client, ttl_ms=86_400_000), SqliteMessageStore(client)
        handler = StreamHandler(
            models={"fast": ScriptedModel('"An ', 'answer"'), "gated": gated},
            resumable=True,
            store=streams,
            conversations=conversations,
        )
        async with (
            serve(create_app(handler, authorize=authorize)) as url,
            httpx2.AsyncClient(base_url=url + "/__aibind__", trust_env=False, timeout=PATIENCE_S) as http,
        ):
            yield _Place(http, handler, streams, conversations, gated.gate)
            await handler.aclose()
