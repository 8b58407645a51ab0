"""The Python Worker that runs the checks, and serves what the tests outside ask it for."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from typing import Any
from unittest import SkipTest
from urllib.parse import urlsplit

from workers import DurableObject, Response, WorkerEntrypoint, import_from_javascript


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    async def fetch(self, request: Any) -> Any:
        path = urlsplit(request.url).path
        if path == "/check":
            return await _check(json.loads(await request.text()), self.env)
        if path == "/import":
            return _import_time()
        if path.startswith("/object/"):
            return await self.env.STREAMS.getByName("one").fetch(request)
        if path.startswith("/reply/"):
            return await self.env.REPLIES.getByName(path.split("/")[2]).fetch(request)
        from tests.workerd.inside import service

        return await service.serve(self, request, path)


async def _check(asked: dict[str, str], env: Any, storage: Any = None) -> Any:
    from tests.workerd.inside.bench import Bench
    from tests.workerd.inside.catalogue import run_check

    began = time.perf_counter()
    failure = skipped = None
    try:
        raw = import_from_javascript("cloudflare:workers").env
        await run_check(asked["name"], Bench(asked["kind"], env, raw, storage))
    except SkipTest as reason:
        skipped = str(reason)
    except Exception as error:
        # From the check on: the way to it is the rig's own.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "catalogue" not in frame.filename]
        lines = [*traceback.format_list(frames[1:]), *traceback.format_exception_only(error)]
        if error.__cause__ is not None:
            lines += ["Caused by:\n", *traceback.format_exception(error.__cause__)]
        failure = "".join(lines)
    return Response(
        json.dumps({"failure": failure, "skipped": skipped, "seconds": time.perf_counter() - began}),
        headers={"Content-Type": "application/json"},
    )


def _import_time() -> Any:
    """Import what a Worker imports, and tell how long each took; only the first time tells anything."""
    assert "aibind" not in sys.modules
    took: dict[str, float] = {}
    for statement in (
        "import json, asyncio, dataclasses, typing",
        "import aibind.cloudflare",
        "from aibind.cloudflare import wrap_d1",
        "from aibind.sqlite import SqliteStreamStore",
        "from aibind.cloudflare import KVConversationStore",
        "from aibind.server import StreamHandler",
        "import starlette.applications",
    ):
        began = time.perf_counter()
        exec(statement)
        took[statement] = round((time.perf_counter() - began) * 1000, 1)
    return Response(json.dumps(took))


class StreamObject(DurableObject):  # type: ignore[misc]
    """A Durable Object with a table, and requests that wait for each other."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        self.sql = ctx.storage.sql
        self.told = asyncio.Event()

    async def fetch(self, request: Any) -> Any:
        action = urlsplit(request.url).path.rpartition("/")[2]
        if action == "check":
            asked = json.loads(await request.text())
            storage = self.ctx.storage  # as the SDK wraps it
            return await _check(asked, self.env, storage if asked["kind"].endswith("sdk") else storage._binding)
        self.sql.exec("CREATE TABLE IF NOT EXISTS words (word TEXT)")  # here, as a check may have removed it
        if action == "wait":
            async with asyncio.timeout(60):
                await self.told.wait()
        elif action == "tell":
            self.sql.exec("INSERT INTO words VALUES (?)", "told")
            self.told.set()
        return Response(json.dumps([row["word"] for row in self.sql.exec("SELECT word FROM words").toArray()]))


class ReplyObject(DurableObject):  # type: ignore[misc]
    """A Durable Object with a reply."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        from tests.workerd.inside.replies import Replies

        self.replies = Replies(ctx.storage)

    async def fetch(self, request: Any) -> Any:
        asked = json.loads(await request.text())
        return await self.replies.serve(urlsplit(request.url).path.rpartition("/")[2], asked)

    async def alarm(self, _info: Any = None) -> None:
        await self.replies.alarm()
