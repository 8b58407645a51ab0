"""A reply that one process streams, and another follows through the database file and stops.

python examples/two_processes.py
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream

STREAM_ID = "counting"


async def count() -> AsyncIterator[str]:
    """Count until the stream is stopped."""
    number = 0
    try:
        while True:
            number += 1
            await asyncio.sleep(0.01)
            yield f"{number} "
    finally:
        print(f"producer: my source was closed at {number}", flush=True)


async def produce(database: str) -> None:
    async with wrap_sqlite3(database) as client:
        stream = await DurableStream.create(SqliteStreamStore(client), count(), stream_id=STREAM_ID)
        print("producer: streaming", flush=True)
        await stream.wait_closed()
        print(f"producer: the stream is {stream.end.state if stream.end else 'running'}", flush=True)


async def follow(database: str) -> None:
    async with wrap_sqlite3(database) as client:
        store = SqliteStreamStore(client)
        text = ""
        async for chunk in store.read_from(STREAM_ID):
            text += chunk.event.data
            if len(text.split()) >= 20:
                await DurableStream.stop_by_id(store, STREAM_ID)  # read_from ends when the stream does
        print(f"follower: read {text[:30]!r}… and stopped it", flush=True)


async def main() -> None:
    with TemporaryDirectory() as folder:
        database = str(Path(folder) / "streams.db")
        async with wrap_sqlite3(database) as client:
            await migrate(client)
        producer = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "produce", database, stdout=asyncio.subprocess.PIPE
        )
        assert producer.stdout is not None
        print((await producer.stdout.readline()).decode().strip(), flush=True)  # the stream exists from here on
        follower = await asyncio.create_subprocess_exec(sys.executable, __file__, "follow", database)
        print((await producer.stdout.read()).decode().strip())
        await asyncio.gather(producer.wait(), follower.wait())


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run({"produce": produce, "follow": follow}[sys.argv[1]](sys.argv[2]))
    else:
        asyncio.run(main())
