"""The controllers of the JavaScript packages, in Node, against our server.

``clients.mjs`` does on the wire what they do. To drive the packages themselves, give their module's path:
``AIBIND_JAVASCRIPT_CLIENTS=…/clients.mjs pytest tests/javascript``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aibind.errors import ModelError
from aibind.models import (
    CustomEvent,
    Finish,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from aibind.server import StreamHandler, Tool, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from testbed.node import find_node
from tests.links.cuts import make_text
from tests.support.http import serve

CLIENTS = os.environ.get("AIBIND_JAVASCRIPT_CLIENTS", str(Path(__file__).with_name("clients.mjs")))
LONG = make_text("mixed", 3000, 0)
USAGE = Usage(12, 5)


def says(*events: str | ModelEvent | Exception, pause_s: float = 0) -> Any:
    async def model(request: ModelRequest) -> AsyncIterator[ModelEvent]:
        for event in events:
            await asyncio.sleep(pause_s)
            if isinstance(event, Exception):
                raise event
            yield TextDelta(event) if isinstance(event, str) else event
        yield USAGE

    return model


async def seen(request: ModelRequest) -> AsyncIterator[ModelEvent]:
    yield TextDelta(json.dumps({"messages": list(request.messages), "system": request.system}, ensure_ascii=False))


async def schema(request: ModelRequest) -> AsyncIterator[ModelEvent]:
    yield TextDelta(json.dumps({"schema": request.json_schema}))


async def tools(request: ModelRequest) -> AsyncIterator[ModelEvent]:
    if request.messages[-1]["role"] == "tool":
        yield TextDelta(f"It is {json.loads(request.messages[-1]['content'])}.")
    else:
        yield ToolCall("c", "clock", '{"zone":"here"}')


async def clock(zone: str) -> str:
    return "noon"


MODELS = {
    "text": says("Hello", " ", "world"),
    "events": says(
        ReasoningDelta("I think."),
        "One ",
        ToolCallDelta("c", "look", "{}"),
        ToolCall("c", "look", "{}"),
        ToolResult("c", "look", '"here"'),
        CustomEvent("weather", {"rain": True}),
        ReasoningDelta("Still."),
        "two",
        Finish("length"),
        pause_s=0.002,
    ),
    "long": says(*(LONG[start : start + 40] for start in range(0, len(LONG), 40)), pause_s=0.001),
    "slow": says(*(f"{number} " for number in range(300)), pause_s=0.01),
    "fail": says("par", ModelError("no quota")),
    "seen": seen,
    "schema": schema,
    "tools": tools,
    "json": says(ReasoningDelta("hm"), '{"name":', '"a","n"', ":1}", Finish("length"), pause_s=0.01),
    "slow-json": says('{"words":["a"', *(',"b"' for _ in range(300)), "]}", pause_s=0.01),
}


class WithText:
    """The app, which also says what the long text is."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/long":
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"text": LONG}).encode()})


async def test_what_pages_do_with_them(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        options: Any = {"models": MODELS, "toolsets": {"time": [Tool("clock", "Returns the time", clock)]}}
        conversations = SqliteMessageStore(client)
        resumable = StreamHandler(
            resumable=True, store=SqliteStreamStore(client), conversations=conversations, **options
        )
        plain = StreamHandler(conversations=conversations, **options)
        async with serve(WithText(create_app(resumable))) as url, serve(create_app(plain)) as plain_url:
            process = await asyncio.create_subprocess_exec(
                find_node(),
                str(Path(__file__).with_name("cases.mjs")),
                CLIENTS,
                url,
                plain_url,
                stdout=asyncio.subprocess.PIPE,
            )
            output, _ = await process.communicate()
        await resumable.aclose()
        await plain.aclose()
    results = json.loads(output)
    assert {result["name"]: result["error"] for result in results if result["error"]} == {}
    assert len(results) == len({result["name"] for result in results}) > 60
