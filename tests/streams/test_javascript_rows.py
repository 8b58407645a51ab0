"""Streams that a JavaScript service writes or stops: it sets ``expires_at`` when it creates one, and never moves it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import pytest

from aibind.errors import StreamNotActiveError, StreamNotFoundError
from aibind.sqlite import SqliteClient, SqliteStreamStore, Statement, migrate, wrap_sqlite3
from aibind.sqlite.client import SqliteResult, SqliteValue
from aibind.streams import DurableStream
from aibind.streams.store import StreamEnd
from testbed.counting import CountingClient
from testbed.javascript import JAVASCRIPT_SQL
from testbed.virtual_time import in_virtual_time
from tests.support.sources import read_all, text_of

TABLES: ContextVar[str] = ContextVar("TABLES")

TTL_S = 20
LEASE_S = 30


class JavaScriptProducer:
    """Writes the rows that the JavaScript store writes, one chunk every second."""

    def __init__(self, client: SqliteClient) -> None:
        self._client = client

    async def run(self, chunks: int, *, every_s: float = 1, dies: bool = False) -> None:
        expires_at = int((time.time() + TTL_S) * 1000)
        await self._client.execute(
            "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES ('js', 'active', 0, ?)",
            (expires_at,),
        )
        for seq in range(1, chunks + 1):
            await asyncio.sleep(every_s)
            await self._client.batch(
                [
                    Statement("INSERT INTO aibind_stream_chunks VALUES ('js', ?, ?)", (seq, f"\x01{seq} ")),
                    Statement("UPDATE aibind_stream_status SET total_chunks = ? WHERE id = 'js'", (seq,)),
                ]
            )
        if not dies:
            await self._client.execute("UPDATE aibind_stream_status SET state = 'done' WHERE id = 'js'")


@pytest.fixture(params=["javascript", "migrated"], autouse=True)
def tables(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run every test on tables that JavaScript made, with and without the columns that a migration adds."""
    token = TABLES.set(request.param)
    yield request.param
    TABLES.reset(token)


async def make_tables(client: SqliteClient) -> None:
    for sql in JAVASCRIPT_SQL:
        await client.execute(sql)
    if TABLES.get() == "migrated":
        await migrate(client)


async def stop_from_javascript(client: SqliteClient, stream_id: str) -> None:
    await client.execute(
        "UPDATE aibind_stream_status SET state = 'stopped' WHERE id = ? AND state = 'active'", (stream_id,)
    )


async def read_row(client: SqliteClient, stream_id: str) -> dict[str, object]:
    return dict((await client.execute("SELECT * FROM aibind_stream_status WHERE id = ?", (stream_id,))).rows[0])


def now_ms() -> float:
    return time.time() * 1000


@pytest.mark.parametrize("remote", [True, False])
@in_virtual_time
async def test_a_reply_that_takes_longer_than_its_time_to_live_is_followed_to_its_end(
    remote: bool, tmp_path: Path
) -> None:
    path = tmp_path / "streams.db"
    async with wrap_sqlite3(path, threads=False) as one, wrap_sqlite3(path, threads=False) as two:
        await make_tables(one)
        store = SqliteStreamStore(CountingClient(two) if remote else two)
        producer = asyncio.ensure_future(JavaScriptProducer(one).run(TTL_S + 20))
        await asyncio.sleep(0.5)
        early = asyncio.ensure_future(read_all((await DurableStream.resume(store, "js")).body))
        await asyncio.sleep(TTL_S + 5)
        late = asyncio.ensure_future(read_all((await DurableStream.resume(store, "js")).body))
        await producer
        for messages in (await early, await late):
            assert text_of(messages) == "".join(f"{seq} " for seq in range(1, TTL_S + 21))
            assert messages[-1].event == "done"
            assert "error" not in [message.event for message in messages]
        with pytest.raises(StreamNotFoundError):
            await DurableStream.resume(store, "js")


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("talks", [True, False])
@in_virtual_time
async def test_a_stream_that_javascript_stopped_resumes_for_its_time_to_live(
    talks: bool, remote: bool, tmp_path: Path
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "Hello"
        while True:
            await asyncio.sleep(1 if talks else 3600)
            yield "."

    path = tmp_path / "streams.db"
    async with wrap_sqlite3(path, threads=False) as one, wrap_sqlite3(path, threads=False) as two:
        await make_tables(one)
        store = SqliteStreamStore(CountingClient(two) if remote else two, lease_ms=LEASE_S * 1000, ttl_ms=300_000)
        stream = await DurableStream.create(store, source())
        await asyncio.sleep(5.5)
        await stop_from_javascript(one, stream.id)
        stopped = now_ms()
        await stream.wait_closed()
        noticed = now_ms()
        row = await read_row(one, stream.id)
        chunks = (await one.execute("SELECT max(seq) AS stored FROM aibind_stream_chunks")).rows[0]["stored"]
        assert row["state"] == "stopped"
        assert row["total_chunks"] == chunks
        assert isinstance(row["expires_at"], int)
        assert stopped - 1 <= row["expires_at"] - 300_000 <= noticed

        await asyncio.sleep(290)
        assert await SqliteStreamStore(one).cleanup() == 0
        messages = await read_all((await DurableStream.resume(SqliteStreamStore(one), stream.id)).body)
        assert text_of(messages) == ("Hello....." if talks else "Hello")
        await asyncio.sleep(15)
        with pytest.raises(StreamNotFoundError):
            await DurableStream.resume(SqliteStreamStore(one), stream.id)


async def append(store: SqliteStreamStore) -> None:
    with pytest.raises(StreamNotActiveError):
        await store.append_many("s", ["\x01b"])


async def append_and_renew(store: SqliteStreamStore) -> None:
    with pytest.raises(StreamNotActiveError):
        await store.append_many("s", ["\x01b"], first_seq=2, renew=True)


async def renew(store: SqliteStreamStore) -> None:
    assert not await store.renew("s")


async def finish(store: SqliteStreamStore) -> None:
    assert await store.finish("s", StreamEnd("done")) == StreamEnd("stopped")


async def look(store: SqliteStreamStore) -> None:
    status = await store.get_status("s")
    assert status is not None
    assert status.end == StreamEnd("stopped")


NOTICES = (append, append_and_renew, renew, finish, look)


@pytest.mark.parametrize("chunks", [0, 1])
@pytest.mark.parametrize("notice", NOTICES)
@in_virtual_time
async def test_the_first_notice_of_a_stop_by_javascript_moves_the_expiry_once(
    notice: Callable[[SqliteStreamStore], Awaitable[None]], chunks: int, tmp_path: Path
) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client)
        await store.create("s")
        if chunks:
            await store.append_many("s", ["\x01a"])
        await stop_from_javascript(client, "s")
        await asyncio.sleep(LEASE_S + 5)  # the producer was suspended meanwhile
        await notice(store)
        row = await read_row(client, "s")
        assert row["total_chunks"] == chunks
        assert row["expires_at"] == pytest.approx(now_ms() + 300_000, abs=2)
        await asyncio.sleep(10)
        for again in NOTICES:
            await again(store)
        assert await read_row(client, "s") == row


@pytest.mark.parametrize("with_append", [True, False])
@in_virtual_time
async def test_a_stop_by_javascript_after_a_renewal_is_noticed(with_append: bool, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client)
        await store.create("s")
        await asyncio.sleep(20)
        if with_append:
            await store.append_many("s", ["\x01a"], first_seq=1, renew=True)
        else:
            await store.append_many("s", ["\x01a"])
            assert await store.renew("s")
        await stop_from_javascript(client, "s")
        await asyncio.sleep(1)
        await append(store)
        row = await read_row(client, "s")
        assert row["total_chunks"] == 1
        assert row["expires_at"] == pytest.approx(now_ms() + 300_000, abs=2)


class DistantClient(CountingClient):
    """Takes a tenth of a second to reach the database."""

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        await asyncio.sleep(0.1)
        return await super().execute(sql, args)


@in_virtual_time
async def test_two_notices_at_once_of_a_stop_by_javascript_agree(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(DistantClient(client))
        await store.create("s")
        await store.append_many("s", ["\x01a"])
        await stop_from_javascript(client, "s")
        await asyncio.sleep(LEASE_S + 5)

        async def look_later() -> object:
            await asyncio.sleep(0.05)
            return await store.get_status("s")

        first, second = await asyncio.gather(store.get_status("s"), look_later())
        assert first is not None
        assert first == second
        assert first.total_chunks == 1
        row = await read_row(client, "s")
        assert row["expires_at"] == first.expires_at


@pytest.mark.parametrize("chunks", [0, 1])
@pytest.mark.parametrize("notice", NOTICES)
@in_virtual_time
async def test_a_stop_by_another_store_of_ours_is_not_moved_again(
    notice: Callable[[SqliteStreamStore], Awaitable[None]], chunks: int, tmp_path: Path
) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        counted = CountingClient(client)
        store = SqliteStreamStore(counted)
        await store.create("s")
        if chunks:
            await store.append_many("s", ["\x01a"])
        await SqliteStreamStore(client).stop("s")
        row = await read_row(client, "s")
        await asyncio.sleep(10)
        await notice(store)
        assert await read_row(client, "s") == row
        assert sum(sql.startswith("UPDATE") and "state <> 'active'" in sql for sql in counted.log) == 0


@in_virtual_time
async def test_cleanup_keeps_a_javascript_stream_that_is_silent_for_a_while(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client, lease_ms=LEASE_S * 1000)
        producer = asyncio.ensure_future(JavaScriptProducer(client).run(6, every_s=10))
        await asyncio.sleep(TTL_S + 1)
        while not producer.done():
            assert await store.cleanup() == 0
            assert await SqliteStreamStore(client).cleanup() == 0  # as a cron trigger does
            await asyncio.sleep(1)
        await producer
        assert (await client.execute("SELECT count(*) AS n FROM aibind_stream_chunks")).rows[0]["n"] == 6
        assert (await read_row(client, "js"))["state"] == "done"


@in_virtual_time
async def test_cleanup_removes_a_javascript_stream_that_one_store_saw_silent_for_a_lease(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client, lease_ms=LEASE_S * 1000)
        await JavaScriptProducer(client).run(2, dies=True)
        assert await store.cleanup() == 0
        await asyncio.sleep(TTL_S)
        assert await store.cleanup() == 0  # sees it first
        await asyncio.sleep(LEASE_S - 1)
        assert await store.cleanup() == 0
        await asyncio.sleep(2)
        assert await store.cleanup() == 1
        assert (await client.execute("SELECT id FROM aibind_stream_chunks")).rows == []


@pytest.mark.parametrize("ttl_s", [300, 7200])
@in_virtual_time
async def test_cleanup_by_a_new_store_removes_a_javascript_stream_in_the_end(ttl_s: int, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        await JavaScriptProducer(client).run(2, dies=True)
        await asyncio.sleep(TTL_S - 2 + max(ttl_s, 3600) - 1)
        assert await SqliteStreamStore(client, ttl_ms=ttl_s * 1000).cleanup() == 0
        await asyncio.sleep(2)
        assert await SqliteStreamStore(client, ttl_ms=ttl_s * 1000).cleanup() == 1


@in_virtual_time
async def test_cleanup_keeps_an_old_javascript_stream_that_writes_during_the_grace(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        producer = asyncio.ensure_future(JavaScriptProducer(client).run(4000))
        await asyncio.sleep(TTL_S + 3700.5)
        assert await SqliteStreamStore(client).cleanup() == 0
        await producer
        assert (await read_row(client, "js"))["total_chunks"] == 4000


@in_virtual_time
async def test_silent_javascript_streams_do_not_keep_ours_from_being_swept(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        for number in range(501):
            await client.execute(
                "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES (?, 'active', 1, ?)",
                (f"js{number}", int(now_ms()) - 1000),
            )
        await client.execute(  # JavaScript's too, without a chunk
            "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES ('empty', 'active', 0, ?)",
            (int(now_ms()) - 1000,),
        )
        producer = SqliteStreamStore(client)
        await producer.create("ours")
        await producer.append_many("ours", ["\x01a"])
        await asyncio.sleep(LEASE_S + 1)
        assert await SqliteStreamStore(client).cleanup() == 2
        with pytest.raises(StreamNotFoundError):
            await DurableStream.resume(producer, "ours")


@in_virtual_time
async def test_streams_of_javascript_have_no_session_and_come_last_in_a_list(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client, ttl_ms=600_000)
        await store.create("ours", session_id="c", owner="o")
        await JavaScriptProducer(client).run(2, dies=True)
        js = await store.get_status("js")
        assert js is not None
        assert (js.session_id, js.owner, js.created_at, js.total_chunks) == (None, None, None, 2)
        listed = [info.stream_id for info in await store.list_streams()]
        assert listed == (["ours", "js"] if TABLES.get() == "migrated" else [])
        assert await store.list_streams(since_ms=0) == [
            info for info in await store.list_streams() if info.stream_id == "ours"
        ]


@in_virtual_time
async def test_what_javascript_stops_keeps_its_session(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as client:
        await make_tables(client)
        store = SqliteStreamStore(client)
        await store.create("s", session_id="c", owner="o")
        await stop_from_javascript(client, "s")
        assert list(await SqliteStreamStore(client).live_streams("c")) == []
        status = await store.get_status("s")  # moves its expiry, and returns the row
        assert status is not None
        recorded = ("c", "o") if TABLES.get() == "migrated" else (None, None)
        assert (status.state, status.session_id, status.owner) == ("stopped", *recorded)
        assert status == await SqliteStreamStore(client).get_status("s")
