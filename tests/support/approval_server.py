"""A server whose tool needs approval, to be killed: ``python -m tests.support.approval_server DATABASE LEDGER``.

It prints its port as its first line. The tool notes in the ledger when it begins and when it ends, a line each.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn

from aibind.models import ModelEvent, ModelRequest, ToolCall
from aibind.server import StreamHandler, Tool, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

LEASE_MS = 400
STEP_S = 0.01


async def answer(request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
    """Say something, and call the tool; say something else when it has run."""
    is_done = request.messages[-1]["role"] == "tool"
    for word in ("It ", "is ", "done. ") if is_done else ("Let ", "me. "):
        await asyncio.sleep(STEP_S)
        yield word
    if not is_done:
        yield ToolCall(f"call {request.session_id}", "act", "{}")


async def main(database: str, ledger: Path) -> None:
    async def act(**arguments: Any) -> str:
        with ledger.open("a") as file:
            file.write("begin\n")
        await asyncio.sleep(5 * STEP_S)
        with ledger.open("a") as file:
            file.write("end\n")
        return "acted"

    async with wrap_sqlite3(database) as client:
        await migrate(client)
        handler = StreamHandler(
            model=answer,
            resumable=True,
            store=SqliteStreamStore(client, lease_ms=LEASE_MS),
            conversations=SqliteMessageStore(client),
            toolsets={"hands": [Tool("act", "Acts", act, needs_approval=True)]},
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        await uvicorn.Server(uvicorn.Config(create_app(handler), log_level="error")).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
