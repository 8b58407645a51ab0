"""The stream store on tables that somebody has changed."""

from __future__ import annotations

from pathlib import Path

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.testing import Faults, FaultySqliteClient


async def test_a_trigger_on_the_table_does_not_count_as_chunks(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        await client.execute("CREATE TABLE seen (id TEXT)")
        await client.execute(
            "CREATE TRIGGER note AFTER INSERT ON aibind_stream_chunks BEGIN INSERT INTO seen VALUES (new.id); END"
        )
        store = SqliteStreamStore(client)
        await store.create("s")
        assert await store.append_many("s", ["\x01a", "\x01b"], first_seq=1) == [1, 2]
        assert await store.append_many("s", ["\x01c"], first_seq=3, renew=True) == [3]
        assert len((await client.execute("SELECT id FROM seen")).rows) == 3


async def test_a_lease_is_short_where_renewing_is_free(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        assert SqliteStreamStore(client).lease_ms == 10_000
        assert SqliteStreamStore(client, lease_ms=5).lease_ms == 5
        remote = FaultySqliteClient(client, Faults(0))
        assert SqliteStreamStore(remote).lease_ms == 30_000
