"""Work on large conversations leaves the event loop free."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aibind._offload import offload, uncollected
from aibind.models import EchoModel
from aibind.server import Endpoints, HttpResponse, StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

from .loop_holds import conversation, large_requests, large_session


@asynccontextmanager
async def open_endpoints(path: Path) -> AsyncIterator[Endpoints]:
    async with wrap_sqlite3(path / "chat.db") as client:
        await migrate(client)
        yield Endpoints(
            StreamHandler(
                model=EchoModel(tokens_per_second=0),
                resumable=True,
                store=SqliteStreamStore(client),
                conversations=SqliteMessageStore(client),
            )
        )


async def ask(endpoints: Endpoints, method: str, path: str, query: str = "", body: bytes = b"") -> HttpResponse[Any]:
    async def read_body() -> bytes:
        return body

    return await endpoints.answer(method, f"/__aibind__/{path}", query, {}, read_body)


async def turns_during(work: asyncio.Task[Any]) -> int:
    """Return how often the loop turned before a task ended."""
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0.001)
    return turns


async def test_a_large_conversation_is_imported_and_exported_beside_others(tmp_path: Path) -> None:
    body = conversation(5_000)
    async with open_endpoints(tmp_path) as endpoints:
        imported = asyncio.create_task(ask(endpoints, "POST", "sessions/import", "sessionId=s", body))
        assert await turns_during(imported) > 10
        assert (await imported).status == 201
        exported = asyncio.create_task(ask(endpoints, "GET", "sessions/s/export"))
        assert await turns_during(exported) > 10
        assert (await exported).body == body


async def test_long_work_is_done_in_a_thread_and_its_error_is_raised() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> str:
        return asyncio.run_coroutine_threadsafe(wait(), loop).result(30)

    async def wait() -> str:
        await release.wait()
        return "done"

    loop.call_later(0.01, release.set)
    assert await offload(work) == "done"
    assert await offload(lambda: "at once", is_long=False) == "at once"
    try:
        await offload(lambda: 1 // 0)
    except ZeroDivisionError:
        return
    raise AssertionError


async def test_large_requests_are_worked_off_in_short_turns(tmp_path: Path) -> None:
    holds = await large_requests(tmp_path / "chat.db", 4_000, 1_500_000)
    assert [str(hold) for hold in holds if hold.cpu_ms > 50] == []


async def test_a_small_turn_is_small_whatever_its_file_and_session_hold(tmp_path: Path) -> None:
    holds = await large_session(tmp_path / "chat.db", 30)
    assert [str(hold) for hold in holds if hold.cpu_ms > 50] == []


async def test_no_garbage_is_collected_while_many_objects_are_made() -> None:
    states: list[bool] = []
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            await offload(lambda: states.append(gc.isenabled()))
        states.append(gc.isenabled())
    assert [*states, gc.isenabled()] == [False, False, True]
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()  # it was disabled before, and stays so
    finally:
        gc.enable()
