"""Turns in a separate process: ``python -m tests.support.turn_process FILE`` takes rounds on stdin.

One JSON line ``[store, session, names]`` each. The turns run at the same time; with a fourth element, true, one after
another. The answer is one line with the errors that turns raised, by name.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aibind.conversations import ConversationStore
from aibind.sqlite import SqliteClient, SqliteConversationStore, SqliteMessageStore, wrap_sqlite3
from tests.support.turns import BlindConversationStore, try_turn

__all__ = ["make_store"]


def make_store(kind: str, client: SqliteClient) -> ConversationStore:
    """Return a store by its name in campaigns."""
    match kind:
        case "messages":
            return SqliteMessageStore(client)
        case "conversations":
            return SqliteConversationStore(client)
        case _:
            return BlindConversationStore(client)


async def main(path: str) -> None:
    async with wrap_sqlite3(path) as client:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            kind, session_id, names, *in_order = json.loads(line)
            store = make_store(kind, client)
            if in_order:
                errors = [await try_turn(store, session_id, name) for name in names]
            else:
                errors = await asyncio.gather(*(try_turn(store, session_id, name) for name in names))
            print(json.dumps({name: error for name, error in zip(names, errors, strict=True) if error}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
