"""The Worker that the benchmarks run inside workerd."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):  # type: ignore[misc]  # its base is known inside workerd alone
    """Does what the benchmark outside asks for."""

    async def fetch(self, request: Any) -> Any:
        """Answer a request."""
        path = urlsplit(request.url).path
        if path == "/import":
            return _json(_import())
        from aibind.cloudflare import wrap_d1
        from aibind.sqlite import migrate
        from benchmarks.support.reply import follow_reply, run_reply, sweep_reply
        from benchmarks.support.turn import store_conversation, store_turn
        from testbed.javascript import JavaScriptStreamStore

        asked = json.loads(await request.text())
        if path == "/tables":
            client = wrap_d1(self.env.NATIVE_DB)
            await migrate(client)
            await JavaScriptStreamStore(client).make_tables()
            return _json({})
        if path == "/conversation":
            await store_conversation(wrap_d1(self.env.NATIVE_DB), **asked)
            return _json({})
        client = wrap_d1(self.env.DB)
        if path == "/turn":
            return _json({"bytes": await store_turn(client, **asked)})
        if path == "/sweep":
            await sweep_reply(client, wrap_d1(self.env.NATIVE_DB), **asked)
            return _json({})
        if path == "/follow":
            return _json(await follow_reply(asked["kind"], client, asked["stream_id"]))
        return _json(await run_reply(client=client, **asked))


def _json(value: Any) -> Any:
    return Response(json.dumps(value), headers={"Content-Type": "application/json"})


def _import() -> dict[str, float]:
    """Import what a Worker with D1 imports; tells something only the first time in an isolate."""
    assert "aibind" not in sys.modules
    before = set(sys.modules)
    began = time.perf_counter()
    from aibind.cloudflare import wrap_d1
    from aibind.sqlite import SqliteStreamStore

    assert callable(wrap_d1)
    assert callable(SqliteStreamStore)
    return {"seconds": time.perf_counter() - began, "modules": len(set(sys.modules) - before)}
