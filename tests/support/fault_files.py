"""The seeded runs under faults on a SQLite file, in virtual time: the same seed gives the same run."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from aibind.conversations import ConversationStore
from aibind.sqlite import (
    SqliteClient,
    SqliteConversationStore,
    SqliteDatabase,
    SqliteMessageStore,
    migrate,
    wrap_sqlite3,
)
from testbed.virtual_time import in_virtual_time

from .fault_runs import Outcome, Plan, run_plan
from .fault_turns import run_turns

__all__ = ["LEASE_S", "play_reply", "play_turns"]

LEASE_S = 2.0


@asynccontextmanager
async def _open_file(seed: int) -> AsyncIterator[Callable[[], SqliteClient]]:
    """Make a database, and return how to connect to it as another process does."""
    random.seed(seed)  # the pauses of retries
    clients: list[SqliteDatabase] = []
    with tempfile.TemporaryDirectory() as folder:

        def connect() -> SqliteClient:
            clients.append(wrap_sqlite3(Path(folder) / "faults.db", threads=False))
            return clients[-1]

        await migrate(connect())
        try:
            yield connect
        finally:
            for client in clients:
                await client.aclose()


def play_reply(seed: int) -> Outcome:
    """Run one reply under faults. Raises Violation for a promise that was broken."""
    outcomes: list[Outcome] = []

    @in_virtual_time
    async def run() -> None:
        async with _open_file(seed) as connect:
            outcomes.append(await run_plan(Plan.draw(seed, LEASE_S), connect))

    run()
    return outcomes[0]


def play_turns(seed: int, store: Literal["messages", "conversations"]) -> int:
    """Run writers of turns under faults, and return the number of faults. Raises Violation for a turn that is lost."""
    struck: list[int] = []

    def open_store(client: SqliteClient) -> ConversationStore:
        return SqliteMessageStore(client) if store == "messages" else SqliteConversationStore(client)

    @in_virtual_time
    async def run() -> None:
        async with _open_file(seed) as connect:
            struck.append(await run_turns(seed, connect, open_store))

    run()
    return struck[0]
