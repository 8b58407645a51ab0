"""A stream store in a separate process: ``python -m tests.support.store_process FILE`` takes operations on stdin.

One JSON line ``[method, args, options]`` each; the answer is one line with the result or the error's name and state.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aibind.errors import StreamError
from aibind.sqlite import SqliteStreamStore, wrap_sqlite3
from aibind.streams import StreamEnd


async def main(path: str) -> None:
    async with wrap_sqlite3(path) as client:
        store = SqliteStreamStore(client)
        while line := await asyncio.to_thread(sys.stdin.readline):
            method, args, options = json.loads(line)
            if method == "finish":
                args[1] = StreamEnd(*args[1])
            try:
                result: Any = await getattr(store, method)(*args, **options)
            except StreamError as error:
                result = [type(error).__name__, getattr(error, "state", None)]
            if isinstance(result, StreamEnd):
                result = [result.state, result.error]
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
