"""What every integration passes, with the framework's example, the framework itself and its offline model.

A framework is a module of tests/integrations/frameworks/.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aibind.server import HttpResponse
from aibind.streams import SseMessage, SseParser
from tests.integrations.frameworks import CALL_ID, FRAMEWORKS, Response, Running, Script
from tests.support.models import PATIENCE_S, until
from tests.support.sources import read_all

ASKS = Response(("Which ", "place?"), ("Let me ", "look. "), calls=True)
UNSEEN = ("tool_call_delta", "message_data", "finish")
"""Events that only some of the frameworks have."""

SAYS = Response(text=("It is ", "21."))


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Any:
    """The module of a framework that is installed."""
    try:
        return importlib.import_module(f"tests.integrations.frameworks.{request.param}")
    except ImportError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def running(framework: Any, *responses: Response) -> AsyncIterator[tuple[Running, Script]]:
    script = Script(responses)
    async with asyncio.timeout(PATIENCE_S), framework.run(script) as run:
        yield run, script


async def ask(run: Running, prompt: str) -> HttpResponse[Any]:
    return await run.handler.stream({"prompt": prompt, "sessionId": "s", **run.body})


async def read(reply: HttpResponse[Any]) -> list[SseMessage]:
    assert not isinstance(reply.body, bytes), reply.body
    return await read_all(reply.body)


def joined(messages: list[SseMessage]) -> list[tuple[str, str]]:
    """Return the events, with neighbours that grow joined."""
    events: list[tuple[str, str]] = []
    for message in messages:
        if message.event == "stream-id":
            continue
        if events and events[-1][0] == message.event in ("", "reasoning", "tool_call_delta"):
            events[-1] = (message.event, events[-1][1] + message.data)
        else:
            events.append((message.event, message.data))
    return events


async def test_a_whole_reply_and_every_prefix(framework: Any) -> None:
    """Reasoning, text, a call, its result, usage; and any reader that comes back after any event gets the rest."""
    async with running(framework, ASKS, SAYS) as (run, _):
        reply = await ask(run, "How warm is it in Bern?")
        live = await read(reply)
        events = [(name, data) for name, data in joined(live) if name not in UNSEEN]
        assert [name for name, _ in events[-2:]] == ["usage", "done"]
        assert all(tokens > 0 for tokens in json.loads(events[-2][1]).values())
        assert events[:-2] == [
            *([("reasoning", "Which place?")] if run.reasons else []),
            ("", "Let me look. "),
            ("tool_call", f'{{"id":"{CALL_ID}","name":"temperature","args":{{"place":"Bern"}}}}'),
            ("tool_result", f'{{"id":"{CALL_ID}","name":"temperature","result":21}}'),
            ("", "It is 21."),
        ]
        stream_id = reply.headers["X-Stream-Id"]
        cuts = [(place, message.id) for place, message in enumerate(live[:-1], 1) if message.id]
        assert len(cuts) >= len(events)
        for place, cut in [(0, None), *cuts]:
            rest = await read(await run.handler.resume(stream_id, cut))
            assert joined([*live[:place], *rest]) == joined(live)


async def test_the_next_turn_sees_the_history(framework: Any) -> None:
    async with running(framework, ASKS, SAYS, Response(text=("Yes.",))) as (run, script):
        await read(await ask(run, "How warm is it in Bern?"))
        await read(await ask(run, "Is that warm?"))
        asked = script.asked[2]
        places = [asked.find(text) for text in ("How warm is it in Bern?", "Let me look.", CALL_ID, "It is 21.")]
        places.append(asked.rfind("Is that warm?"))
        assert -1 not in places
        assert places == sorted(places)
        assert asked.count(CALL_ID) > 1  # of the call, and of its result
        assert asked.count("How warm is it in Bern?") == 1


async def test_a_stop_closes_the_model(framework: Any) -> None:
    async with running(framework, Response(endless=True)) as (run, script):
        reply = await ask(run, "Tell me all")
        parser, messages = SseParser(), list[SseMessage]()
        async for data in reply.body:
            messages += parser.feed(data)
            if messages[-1].event == "":
                await run.handler.stop({"id": reply.headers["X-Stream-Id"]})
        await until(lambda: script.closed)
        events = joined(messages)
        assert events[0][1].startswith("word ")
        assert events[-2:] == [("stopped", ""), ("done", "")]


async def test_a_failure_keeps_the_text_before_it(framework: Any) -> None:
    async with running(framework, Response(text=("Half ", "an "), fails=True)) as (run, script):
        events = joined(await read(await ask(run, "Tell me all")))
        assert [name for name, _ in events] == ["", "error", "done"]
        assert events[0][1] == "Half an "
        assert events[1][1]
        assert "secret" not in events[1][1]
        assert script.closed == 1
