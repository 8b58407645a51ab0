"""Followers in a process of their own: ``python -m benchmarks.support.follow_child ours|javascript FILE ID COUNT``."""

from __future__ import annotations

import asyncio
import json
import sys


async def main(kind: str, path: str, stream_id: str, count: int) -> None:
    """Follow, then print the delays of all tokens."""
    from aibind.sqlite import wrap_sqlite3
    from benchmarks.follow import open_body, read_clocked

    async with wrap_sqlite3(path) as client:
        bodies = [await open_body(kind, client, stream_id) for _ in range(count)]
        following = asyncio.gather(*map(read_clocked, bodies))
        print(json.dumps("ready"), flush=True)
        delays = [delay for one in await following for delay in one]
    print(json.dumps(delays), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
