"""The app of several uvicorn workers on one file, which ``AIBIND_TEST_DATABASE`` names.

Every response has the id of the process that made it, as ``X-Worker``. A prompt that is a number is answered with that
many numbered words, a hundred a second.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from tests.support.server import CountingModel

ROOT = Path(__file__).parents[2]
WORKERS = 4


def make_app() -> Any:
    """Return the app of one worker."""
    client = wrap_sqlite3(os.environ["AIBIND_TEST_DATABASE"])
    handler = StreamHandler(
        model=CountingModel(float(os.environ.get("AIBIND_TEST_RATE", "100")), None),
        resumable=True,
        store=SqliteStreamStore(client),
        conversations=SqliteMessageStore(client),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            await migrate(client)
            async with handler.running(grace_s=float(os.environ.get("AIBIND_TEST_GRACE_S", "0"))):
                yield

    app = Starlette(routes=[Mount("/", app=create_app(handler))], lifespan=lifespan)

    async def signed(scope: Any, receive: Any, send: Any) -> None:
        async def send_signed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-worker", str(os.getpid()).encode())]
            await send(message)

        await app(scope, receive, send_signed)

    return signed


@contextlib.contextmanager
def run_workers(database: Path) -> Iterator[str]:
    """Run the workers; give their address."""
    command = [sys.executable, "-m", "uvicorn", "tests.support.workers:make_app", "--factory", "--port=0"]
    command += [f"--workers={WORKERS}", "--timeout-graceful-shutdown=1", "--no-access-log"]
    environment = {**os.environ, "AIBIND_TEST_DATABASE": str(database)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        url = ""
        ready = 0
        for line in process.stderr:
            found = re.search(r"running on (http://[\d.:]+)", line)
            url = found[1] if found else url
            ready += "Application startup complete" in line
            if url and ready == WORKERS:
                break
        else:
            raise AssertionError(f"uvicorn ended with {process.wait()}")
        yield url + "/__aibind__"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stderr.close()
