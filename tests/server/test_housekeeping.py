"""Housekeeping: by itself, by one process at a time, also after one was killed, and not at all where it is off."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import RequestError
from aibind.server import StreamHandler
from aibind.server.housekeeping import CLAIM_ID
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from tests.support.models import PATIENCE_S, ScriptedModel
from tests.support.sources import read_all

OFTEN_S = 0.02


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_streams(backend: str, folder: Path, **options: Any) -> AsyncIterator[StreamStore]:
    if backend == "memory":
        yield MemoryStreamStore(**options)
        return
    async with wrap_sqlite3(folder / "chat.db") as client:
        await migrate(client)
        yield SqliteStreamStore(client, **options)


async def is_empty(store: StreamStore, folder: Path) -> bool:
    if isinstance(store, MemoryStreamStore):
        return repr(store).startswith("<MemoryStreamStore streams=0 ")
    async with wrap_sqlite3(folder / "chat.db") as client:
        return not (await client.execute("SELECT id FROM aibind_stream_status")).rows


backends = pytest.mark.parametrize("backend", ["memory", "sqlite"])


def make_handler(store: StreamStore, **options: Any) -> StreamHandler:
    return StreamHandler(model=ScriptedModel("ok"), resumable=True, store=store, **options)


async def ask(handler: StreamHandler, **body: str) -> None:
    reply = await handler.stream({"prompt": "hi", **body})
    await read_all(reply.body)  # type: ignore[arg-type]


@backends
async def test_expired_streams_go_by_themselves(backend: str, tmp_path: Path) -> None:
    """From the first reply on, and without any other call."""
    async with open_streams(backend, tmp_path, ttl_ms=1, lease_ms=50) as store:
        handler = make_handler(store, housekeeping_interval_s=OFTEN_S)
        for _ in range(3):
            await ask(handler)
        await until(lambda: is_empty(store, tmp_path))
        await handler.aclose()


async def test_it_begins_with_the_server(tmp_path: Path) -> None:
    """An answer of a killed server is in its conversation without a request."""
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        store, conversations = SqliteStreamStore(client, lease_ms=50), SqliteMessageStore(client)
        chat = await conversations.load("s")
        question = chat.append({"role": "user", "content": "hi"}, {"streamId": "lost"})
        await conversations.save("s", chat)
        await store.create("lost", session_id="s", question_id=question)
        await store.append("lost", "\x01As far as it")

        async def is_recovered() -> bool:
            return bool((await conversations.load("s")).messages[-1]["content"] == "As far as it")

        handler = make_handler(store, conversations=conversations, housekeeping_interval_s=OFTEN_S)
        async with handler.running():
            await until(is_recovered)


async def test_it_can_be_turned_off() -> None:
    store = MemoryStreamStore(ttl_ms=1, lease_ms=1)
    handler = make_handler(store, housekeeping_interval_s=None)
    async with handler.running():
        await ask(handler)
        await asyncio.sleep(0.2)
        assert repr(store).startswith("<MemoryStreamStore streams=1 ")
        await asyncio.sleep(0.01)
        assert await handler.sweep() == 1


@pytest.mark.parametrize("interval_s", [0, -1.0])
def test_an_interval_is_above_0(interval_s: float) -> None:
    with pytest.raises(ValueError, match=f"housekeeping_interval_s is {interval_s}: use a number of seconds above 0"):
        make_handler(MemoryStreamStore(), housekeeping_interval_s=interval_s)


class Sweeps:
    """Counts the sweeps of several stores, and how many ran at once."""

    def __init__(self) -> None:
        self.count = self.running = self.most = 0
        self.by: set[StreamStore] = set()


def watched(client: Any, sweeps: Sweeps, takes_s: float) -> SqliteStreamStore:
    class Watched(SqliteStreamStore):
        async def cleanup(self) -> int:
            sweeps.count += 1
            sweeps.running += 1
            sweeps.most = max(sweeps.most, sweeps.running)
            sweeps.by.add(self)
            await asyncio.sleep(takes_s)
            sweeps.running -= 1
            return await super().cleanup()

    return Watched(client, lease_ms=200)  # a process that is held up for so long loses its claim


@pytest.mark.parametrize("takes_s", [0.02, 0.5], ids=["within the lease", "longer than the lease"])
async def test_one_process_sweeps_at_a_time(takes_s: float, tmp_path: Path) -> None:
    sweeps = Sweeps()
    async with wrap_sqlite3(tmp_path / "chat.db") as one, wrap_sqlite3(tmp_path / "chat.db") as other:
        await migrate(one)
        stores = [watched(client, sweeps, takes_s) for client in (one, other)]
        handlers = [make_handler(store, housekeeping_interval_s=OFTEN_S) for store in stores]
        for handler in handlers:
            await ask(handler)

        async def both_have() -> bool:
            return sweeps.count >= 4 and len(sweeps.by) == 2

        await until(both_have)
        for handler in handlers:
            await handler.aclose()
        assert sweeps.most == 1
        assert CLAIM_ID not in [one.stream_id for one in await stores[0].list_streams()]


async def test_closing_while_the_claim_is_being_taken_gives_it_back(tmp_path: Path) -> None:
    """A statement that is under way cannot be taken back."""
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        creating, is_created = asyncio.Event(), asyncio.Event()

        class Slow(SqliteStreamStore):
            async def create(self, stream_id: str, **options: Any) -> None:
                await super().create(stream_id, **options)
                if stream_id == CLAIM_ID:
                    creating.set()
                    await is_created.wait()

        store = Slow(client, lease_ms=20)
        handler = make_handler(store, housekeeping_interval_s=OFTEN_S)
        await ask(handler)
        await creating.wait()
        closing = asyncio.create_task(handler.aclose())
        await asyncio.sleep(0.05)
        is_created.set()
        await closing
        assert CLAIM_ID not in [one.stream_id for one in await store.list_streams()]


@backends
async def test_a_process_that_was_killed_while_it_swept_stops_no_other(backend: str, tmp_path: Path) -> None:
    async with open_streams(backend, tmp_path, ttl_ms=1, lease_ms=50) as store:
        await store.create(CLAIM_ID)
        handler = make_handler(store, housekeeping_interval_s=OFTEN_S)
        await ask(handler)
        await until(lambda: is_empty(store, tmp_path))
        await handler.aclose()


async def test_nobody_reads_or_stops_the_claim() -> None:
    store = MemoryStreamStore()
    handler = make_handler(store)
    await store.create(CLAIM_ID)
    with pytest.raises(RequestError) as refused:
        await handler.resume(CLAIM_ID, None)
    assert refused.value.status == 404
    await handler.stop({"id": CLAIM_ID})
    status = await store.get_status(CLAIM_ID)
    assert status is not None
    assert (status.is_active, status.stop_requested) == (True, False)


async def test_conversations_are_cleaned_up_as_well() -> None:
    conversations = MemoryConversationStore(ttl_ms=1)
    handler = make_handler(MemoryStreamStore(lease_ms=20), conversations=conversations, housekeeping_interval_s=OFTEN_S)
    await ask(handler, sessionId="s")

    async def is_gone() -> bool:
        return "conversations=0" in repr(conversations)

    await until(is_gone)
    await handler.aclose()


async def test_a_failure_is_logged_and_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        store = SqliteStreamStore(client, lease_ms=20, ttl_ms=1)
        handler = make_handler(store, housekeeping_interval_s=OFTEN_S)
        async with handler.running():

            async def has_failed() -> bool:
                return "The stores could not be swept" in caplog.text

            await until(has_failed)
            await migrate(client)
            await ask(handler)

            async def is_swept() -> bool:
                return not (await client.execute("SELECT id FROM aibind_stream_status")).rows

            await until(is_swept)


async def test_a_handler_that_is_dropped_leaves_no_housekeeping(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    # The first sweep is due after 1.25 leases. A lease that a collection of garbage outlasts would be lost in a sweep,
    # and the record of that failure would hold the handler.
    store = MemoryStreamStore(ttl_ms=1, lease_ms=1000)
    handler = make_handler(store, housekeeping_interval_s=0.1)
    await ask(handler)
    gone = weakref.ref(handler)
    del handler
    async with asyncio.timeout(PATIENCE_S):
        while gone() is not None:
            await asyncio.sleep(0.01)
            gc.collect()
    await asyncio.sleep(1.4)
    assert not [task for task in asyncio.all_tasks() if "housekeeping" in task.get_name()]
    assert not caplog.records


async def test_closing_leaves_neither_task_nor_timer() -> None:
    store = MemoryStreamStore(lease_ms=20)
    handler = make_handler(store, housekeeping_interval_s=OFTEN_S)
    async with handler.running():
        await asyncio.sleep(0.1)
    assert not [task for task in asyncio.all_tasks() if "housekeeping" in task.get_name()]
    loop: Any = asyncio.get_running_loop()
    if hasattr(loop, "_scheduled"):
        assert not [one for one in loop._scheduled if not one.cancelled() and "_begin" in repr(one)]
