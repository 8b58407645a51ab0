"""What a reply costs the database: counts, in virtual time, so that they do not depend on how fast the machine is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream
from testbed.counting import CountingClient
from testbed.virtual_time import in_virtual_time
from tests.support.sources import Source, read_all, text_of, tokens


@in_virtual_time
async def test_a_reply_of_1000_tokens_costs_45_statements(tmp_path: Path) -> None:
    """1,000 tokens at 100 a second, stored every 250 ms as over D1, with a live reader from beginning to end.

    Then every prefix of what was sent is resumed from the store, as far as its last id.
    """
    items = tokens(1000)
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteStreamStore(client)
        source = Source(items, rate=100)
        stream = await DurableStream.create(store, source.stream())
        live = await read_all(stream.response().body)
        await stream.wait_closed()
        print(f"statements {client.statements}, round trips {client.round_trips}, rows written {client.rows_written}")
        assert text_of(live) == "".join(items)
        assert client.statements <= 45
        assert client.rows_written <= 50
        assert client.round_trips <= 45

        seen = ""
        prefixes = [(0, "")]
        for message in live:
            if message.id and not message.event:
                seen += message.data
                prefixes.append((int(message.id), seen))
        assert len(prefixes) > 900

        async def resume(last_id: int, before: str) -> None:
            response = await DurableStream.resume(store, stream.id, last_id)
            assert before + text_of(await read_all(response.body)) == "".join(items)

        for start in range(0, len(prefixes), 50):
            await asyncio.gather(*(resume(last_id, before) for last_id, before in prefixes[start : start + 50]))


async def test_a_look_is_one_statement(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteStreamStore(client)
        await store.create("s")
        await store.append_many("s", ["\x01a"] * 10)
        await store.complete("s")
        for operation, statements in (
            (store.read_page("s"), 1),
            (store.get_status("s"), 1),
            (DurableStream.resume(store, "s"), 1),
        ):
            before = client.statements
            await operation
            assert client.statements - before == statements
        assert client.log[0].startswith("INSERT")


@in_virtual_time
async def test_a_follower_of_a_silent_stream_backs_off(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        await SqliteStreamStore(local).create("s")
        client = CountingClient(local)
        follower = asyncio.ensure_future(read_all((await DurableStream.resume(SqliteStreamStore(client), "s")).body))
        await asyncio.sleep(2)
        assert client.statements <= 10
        await SqliteStreamStore(local).complete("s")
        await follower


@in_virtual_time
async def test_followers_of_a_producer_in_this_process_cost_nothing(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db", threads=False) as local:
        await migrate(local)
        client = CountingClient(local)
        store = SqliteStreamStore(client)
        stream = await DurableStream.create(store, Source(tokens(40), rate=100).stream())
        responses = [await DurableStream.resume(store, stream.id) for _ in range(50)]
        texts = await asyncio.gather(*(read_all(response.body) for response in responses))
        assert {text_of(messages) for messages in texts} == {"".join(tokens(40))}
        assert client.statements <= 6
        assert not any(sql.startswith("SELECT") for sql in client.log)
