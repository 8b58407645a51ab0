"""A process that follows streams: ``python -m tests.support.follow_process FILE``, ids on stdin.

Prints a digest of each stream's text, in order, when all have ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys

from aibind.sqlite import SqliteStreamStore, wrap_sqlite3


async def main(path: str, ids: list[str]) -> None:
    async with wrap_sqlite3(path) as client:
        store = SqliteStreamStore(client)

        async def follow(stream_id: str) -> str:
            text = "".join([chunk.event.data async for chunk in store.read_from(stream_id)])
            return hashlib.sha256(text.encode()).hexdigest()

        print(json.dumps(await asyncio.gather(*map(follow, ids))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.load(sys.stdin)))
