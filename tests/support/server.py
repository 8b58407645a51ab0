"""A chat server in a separate process, to be killed: ``python -m tests.support.server --database FILE``.

It prints its port as its first line. A prompt that is a number is answered with that many numbered words. With
``--endpoint`` a model there answers, which may call the tools of tests.support.tools.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from aibind.models import Model, ModelEvent, ModelRequest, OpenAIModel, TextDelta
from aibind.server import StreamHandler, create_agent_app, create_app, create_chat_app
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.tools import TOOLSETS


class CountingModel:
    """Counts, at a rate; notes in a file when its generator is closed, and in another each call's system prompt."""

    def __init__(self, rate: float, note: Path | None, calls: Path | None = None) -> None:
        self._rate = rate
        self._note = note
        self._calls = calls

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        if self._calls is not None:
            with self._calls.open("a") as file:
                file.write(f"{request.system}\n")
        try:
            for number in range(int(request.messages[-1]["content"])):
                await asyncio.sleep(1 / self._rate)
                yield TextDelta(f"{number} ")
        finally:
            if self._note is not None:
                self._note.write_text("closed")


def repair_sleep() -> None:
    """Sleep on another system call: libfaketime 0.9.10 lets ``time.sleep`` fail from Python 3.11 on."""
    time.sleep = lambda seconds: threading.Event().wait(float(seconds))  # type: ignore[assignment]


async def sweep(streams: SqliteStreamStore, interval_s: float) -> None:
    """Clean up again and again, as a cron job does."""
    while True:
        await streams.cleanup()
        await asyncio.sleep(interval_s)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--lease-ms", type=int, default=30_000)
    parser.add_argument("--ttl-ms", type=int, default=300_000)
    parser.add_argument("--busy-timeout-ms", type=float, default=30_000)
    parser.add_argument("--sweep-s", type=float, help="seconds between two cleanups")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--note", type=Path)
    parser.add_argument("--calls", type=Path)
    parser.add_argument("--messages", type=bool, default=False)
    parser.add_argument("--endpoint")
    parser.add_argument("--background", type=bool, default=False, help="ask the endpoint for background responses")
    parser.add_argument("--chat-app", type=bool, default=False)
    parser.add_argument("--agent-app", type=bool, default=False)
    options = parser.parse_args()
    async with wrap_sqlite3(options.database, busy_timeout_ms=options.busy_timeout_ms) as client:
        await migrate(client)
        streams = SqliteStreamStore(client, lease_ms=options.lease_ms, ttl_ms=options.ttl_ms)
        model: Model = CountingModel(options.rate, options.note, options.calls)
        if options.background:
            model = OpenAIModel("any", base_url=options.endpoint, api="responses", background=True)
        elif options.endpoint:
            model = OpenAIModel("any", base_url=options.endpoint)
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=streams,
            conversations=SqliteMessageStore(client) if options.messages else SqliteConversationStore(client),
            toolsets=TOOLSETS,
        )
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        front_end = create_chat_app if options.chat_app else create_agent_app if options.agent_app else create_app
        app = front_end(handler)
        config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        sweeping = asyncio.ensure_future(sweep(streams, options.sweep_s)) if options.sweep_s else None
        await uvicorn.Server(config).serve(sockets=[listener])
        if sweeping is not None:
            sweeping.cancel()


if __name__ == "__main__":
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        repair_sleep()
    asyncio.run(main())
