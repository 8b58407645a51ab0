"""The Python client in a Worker, which has JavaScript's fetch and no httpx2, and a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, StreamStore
from testbed.workerd.rig import Rig
from tests.links.clients import Teller, Told, normal
from tests.links.proxy import cutting_proxy
from tests.support.http import serve
from tests.support.models import until

RUNS_ON = ("py314", "py313-2026-04-01")
EVERY = ("py314", "py313", "py313-2026-04-01", "py314-oldest")


class Served:
    """An app that counts the responses that it is sending, and the store of its streams."""

    def __init__(self, app: Any, store: StreamStore) -> None:
        self.store = store
        self._app = app
        self.open = 0
        self.all = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.open += 1
        self.all += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.open -= 1


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[tuple[str, Served]]:
    async with wrap_sqlite3(file) as database:
        await migrate(database)
        store = SqliteStreamStore(database)
        handler = StreamHandler(model=Teller(), resumable=True, store=store, conversations=SqliteMessageStore(database))
        app = Served(create_app(handler), store)
        async with serve(app) as url:
            yield url, app
        await handler.aclose()


async def ask(rig: Rig, path: str, **body: Any) -> Any:
    return await asyncio.to_thread(rig.ask, "checks", f"/client/{path}", body)


async def test_a_worker_reads_a_reply_exactly_although_its_connections_are_cut(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    async with serving(tmp_path / "streams.db") as (url, _):
        told = Told("mixed", 2_000, 1, 0)
        whole = await ask(rig, "read", url=url, prompt=told.prompt)
        assert (whole["connections"], whole["state"], whole["httpx2"]) == (1, "done", False)
        assert whole["text"] == normal(told.text)
        for limit, pause_s in ((200, 0), (700, 0.001)):
            told = Told("emoji", 400, limit, pause_s)
            async with cutting_proxy(url, limit) as cut:
                read = await ask(rig, "read", url=cut, prompt=told.prompt)
            assert read["connections"] > 2, read
            for name, text in (("", told.text), ("reasoning", told.thought)):
                assert "".join(data for _, event, data in read["events"] if event == name) == normal(text)
            assert [event for _, event, _ in read["events"] if event not in ("", "reasoning")] == ["tool_call"]


@pytest.mark.parametrize("how", ["break", "aclose", "timeout"])
async def test_leaving_the_iterator_closes_the_fetch_and_the_reply_goes_on(rig: Rig, how: str, tmp_path: Path) -> None:
    rig.start()
    told = Told("words", 1_000, 3, 0.5)  # half a minute
    async with serving(tmp_path / "streams.db") as (url, served):
        left = await ask(rig, "leave", url=url, prompt=told.prompt, how=how)
        await until(lambda: served.open == 0)
        status = await served.store.get_status(left["stream"])
        assert status is not None
        assert status.is_active
        await asyncio.sleep(0.6)
        await DurableStream.stop_by_id(served.store, left["stream"])
        rest = await ask(rig, "resume", url=url, stream=left["stream"], last=left["last"])
        assert rest["seen"]
        assert (told.thought + told.text).startswith(left["seen"] + rest["seen"])
    assert "Exception ignored" not in rig.log()
    assert "never retrieved" not in rig.log()


async def test_a_worker_uses_sessions(rig: Rig, tmp_path: Path) -> None:
    rig.start()
    told = Told("words", 100, 4, 0)
    async with serving(tmp_path / "streams.db") as (url, _):
        await ask(rig, "read", url=url, prompt=told.prompt, session="a/ü")
        found = await ask(rig, "sessions", url=url, session="a/ü")
    assert found["title"] == "Ebbe 🌊"
    assert (found["messages"][0], found["messages"][-1]) == (told.prompt, told.text)
    assert (found["left"], found["gone"]) == (["copy"], True)


async def test_failures_are_told_in_words(rig: Rig, tmp_path: Path) -> None:
    rig.start()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-stream-id", b"s1")]})
        await send({"type": "http.response.body", "body": b": here\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    served = Served(silent, MemoryStreamStore())
    async with serve(served) as url:
        options = {"timeout_s": 0.3, "max_failures": 2}
        found = await ask(rig, "read", url=url, prompt="hi", options=options)
        assert "2 times in a row: Nothing came for 0.3 s" in found["error"]
        await until(lambda: served.open == 0)
        assert served.all == 2
    nobody = await ask(rig, "read", url="http://127.0.0.1:1", prompt="hi", options={"max_failures": 1})
    assert "could not be reached" in nobody["error"]
    async with serving(tmp_path / "streams.db") as (url, _):
        wrong = await ask(rig, "read", url=url, prompt="hi", options={"prefix": "/elsewhere"})
        assert (wrong["status"], "check the address and the prefix" in wrong["error"]) == (404, True)


async def test_a_transport_may_be_a_binding(rig: Rig) -> None:
    rig.start()
    answer = await ask(rig, "object")
    assert answer["status"] == 200
    assert "told" in answer["body"]
