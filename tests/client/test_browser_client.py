"""The JavaScript client, in Node, against a real server, through connections that are cut."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from aibind.models import ModelEvent, ModelRequest, TextDelta
from aibind.server import StreamHandler, create_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from testbed.node import find_node
from tests.support.cutting import CuttingProxy, every
from tests.support.http import serve

CLIENT = Path(__file__).parents[2] / "src" / "aibind" / "server" / "aibind.js"
SCRIPT = Path(__file__).with_name("browser.mjs")


def words(count: int) -> str:
    return "".join(f"wörd{number} " for number in range(count))


class Counter:
    """Says as many words as it is asked for, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.asked += 1
        for number in range(int(request.messages[-1]["content"])):
            await asyncio.sleep(0.002)
            yield TextDelta(f"wörd{number} ")


async def run(scenario: str, *, model: Counter | None = None, cut_bytes: int | None = None) -> Any:
    """Run a scenario against a server with a file in memory."""
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        handler = StreamHandler(
            model=model or Counter(),
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
        )
        chance = random.Random(7)
        async with (
            handler.running(grace_s=0),
            serve(create_app(handler)) as url,
            CuttingProxy(
                url, every(lambda: None if cut_bytes is None else chance.randint(200, cut_bytes))
            ).serving() as proxy,
        ):
            node = await asyncio.create_subprocess_exec(
                find_node(), str(SCRIPT), CLIENT.as_uri(), f"{proxy}/__aibind__", scenario, stdout=subprocess.PIPE
            )
            async with asyncio.timeout(60):
                printed, _ = await node.communicate()
            assert node.returncode == 0
            return json.loads(printed)


async def test_a_reply_is_exact_through_cuts() -> None:
    model = Counter()
    seen = await run("cut", model=model, cut_bytes=900)
    assert (seen["state"], seen["text"]) == ("done", words(80))
    assert seen["cuts"] > 1
    assert model.asked == 1


async def test_another_page_attaches() -> None:
    model = Counter()
    seen = await run("attach", model=model)
    assert words(60).startswith(seen["seen"])
    assert seen["state"] == "live"  # it was left, and goes on
    for page in (seen["second"], seen["again"]):
        assert (page["state"], page["text"]) == ("done", words(60))
    assert (seen["none"]["state"], seen["none"]["events"]) == ("none", [])
    assert model.asked == 1


async def test_a_reply_is_stopped() -> None:
    seen = await run("stop")
    assert seen["state"] == "stopped"
    assert words(5000).startswith(seen["text"])
    assert 10 < len(seen["text"]) < len(words(5000))


async def test_a_repeated_request_is_asked_once() -> None:
    model = Counter()
    first, second = await run("twice", model=model)
    assert (first["text"], second["text"]) == (words(20), words(20))
    assert first["id"] == second["id"]
    assert model.asked == 1


async def test_sessions_are_listed_read_and_changed() -> None:
    assert await run("sessions") == {
        "roles": ["user", "assistant"],
        "same": None,
        "listed": [{"id": "a/b", "title": "Named", "liveStream": None}],
        "selected": 2,  # down to the leaf
        "unknown": True,
        "left": [],
    }


async def test_refusals_are_told() -> None:
    seen = await run("refused")
    assert (seen["gone"]["state"], seen["gone"]["text"]) == ("gone", "")
    for kind in ("bad", "iterated"):
        assert seen[kind]["ours"]
        assert seen[kind]["status"] == 400
        assert "prompt" in seen[kind]["message"]
    assert seen["session"]["status"] == 404
    assert seen["away"] == {"ours": True, "message": "The server cannot be reached", "status": 0}


async def test_the_app_serves_it() -> None:
    app = create_app(StreamHandler(model=Counter()))
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        found = await client.get("/__aibind__/aibind.js")
        assert found.content == CLIENT.read_bytes()
        assert re.match("text/javascript", found.headers["content-type"])
        again = await client.get("/__aibind__/aibind.js", headers={"If-None-Match": found.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
