"""What our server does otherwise than that of the JavaScript packages: a test for each row of docs/compatibility.md."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.models import ReasoningDelta, TextDelta, ToolCall
from aibind.server import Endpoints, StreamHandler, Tool
from aibind.streams import SseMessage, SseParser
from tests.support.models import ENDLESS, ScriptedModel
from tests.support.sources import text_of

Check = Callable[[], Awaitable[None]]
CHECKS: dict[str, Check] = {}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def row(name: str) -> Callable[[Check], Check]:
    """Register the test of a row."""

    def register(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return register


async def request(
    endpoint: str, body: object, *events: Any, method: str = "POST", query: str = "", **options: Any
) -> tuple[int, bytes]:
    """Return the status and the whole body of an answer of a new server."""
    handler = StreamHandler(model=options.pop("model", None) or ScriptedModel(*events), **options)

    async def read_body() -> bytes:
        return json.dumps(body).encode()

    reply = await Endpoints(handler).answer(method, f"/__aibind__/{endpoint}", query, {}, read_body)
    if isinstance(reply.body, bytes):
        return reply.status, reply.body
    return reply.status, b"".join([data async for data in reply.body])


async def messages_of(endpoint: str, body: object, *events: Any, **options: Any) -> list[SseMessage]:
    status, content = await request(endpoint, body, *events, **options)
    assert status == 200
    return SseParser().feed(content)


async def refusal(endpoint: str, body: object, **options: Any) -> str:
    status, content = await request(endpoint, body, "x", **options)
    assert status == 400
    error: str = json.loads(content)["error"]
    return error


async def clock() -> str:
    return "noon"


@row("a toolset that does not exist")
async def _unknown_toolset() -> None:
    assert await refusal("chat", {**CHAT, "toolset": "none"}) == 'Unknown toolset: "none"'


@row("`maxSteps`")
async def _max_steps() -> None:
    for value in (0, 51, 2.5, "3", True):
        assert "maxSteps must be a whole number from 1 to 50" in await refusal("chat", {**CHAT, "maxSteps": value})
    toolsets = {"time": [Tool("clock", "Returns the time", clock)]}
    model = ScriptedModel(ToolCall("c", "clock", "{}"))
    for steps, rounds in ((2, 2), (None, 5)):
        body = {**CHAT, "toolset": "time"} | ({} if steps is None else {"maxSteps": steps})
        model.requests.clear()
        await messages_of("chat", body, model=model, toolsets=toolsets)
        assert len(model.requests) == rounds


@row("CR in text")
async def _cr() -> None:
    status, content = await request("stream", {"prompt": "hi"}, "a\r\nb\rc")
    assert (status, b"\r" in content) == (200, False)
    assert text_of(SseParser().feed(content)) == "a\nb\nc"


@row("half of a character (a lone surrogate)")
async def _surrogate() -> None:
    assert text_of(await messages_of("stream", {"prompt": "hi"}, "a\ud83d", "b")) == "a\ufffdb"


@row("an attachment")
async def _attachment() -> None:
    def chat(**attachment: Any) -> object:
        return {"messages": [{**CHAT["messages"][0], "attachments": [attachment]}]}

    assert "use https or data" in await refusal("chat", chat(mimeType="image/png", url="http://example.com/a.png"))
    assert "not valid base64" in await refusal("chat", chat(mimeType="image/png", data="?"))
    assert "needs a mimeType" in await refusal("chat", chat(data="AA=="))
    assert (await request("chat", chat(mimeType="image/png", data="AA=="), "x"))[0] == 200


@row("large requests")
async def _large() -> None:
    picture = {"mimeType": "image/png", "data": base64.b64encode(bytes(2000)).decode()}
    status, _ = await request("stream", {"prompt": "hi", "attachments": [picture]}, "x", max_attachment_bytes=1000)
    assert status == 413
    assert (await request("stream", {"prompt": "x" * 1_000_001}, "x"))[0] == 413


@row("a message's role")
async def _role() -> None:
    assert "needs a role" in await refusal("chat", {"messages": [{"role": "robot", "content": "hi"}]})


@row("a long `sessionId`")
async def _session_id() -> None:
    assert "longer than 400 bytes" in await refusal("stream", {"prompt": "hi", "sessionId": "x" * 401})


@row("`after` that is not an id")
async def _after() -> None:
    status, _ = await request("stream/resume", None, method="GET", query="id=x&after=abc", resumable=True)
    assert status == 400


@row("a model that fails")
async def _fails() -> None:
    for endpoint, body in (("stream", {"prompt": "hi"}), ("chat", CHAT)):
        messages = await messages_of(endpoint, body, "par", RuntimeError("secret"))
        assert [(message.event, message.data) for message in messages][-2:] == [
            ("error", "The model failed"),
            ("done", ""),
        ]
        assert text_of(messages) == "par"


@row("a structured answer that is not JSON")
async def _not_json() -> None:
    messages = await messages_of("structured", {"prompt": "hi"}, "no JSON")
    assert [message.event for message in messages] == ["error", "done"]


@row("`partial` events")
async def _partials() -> None:
    word = "x" * 1000
    pieces = ("[", *(f'"{word}",' for _ in range(60)), f'"{word}"]')
    messages = await messages_of("structured", {"prompt": "hi"}, *pieces, resumable=True)
    partials = [len(message.data) for message in messages if message.event == "partial"]
    assert len(partials) > 10
    assert max(partials) < 34_000
    assert json.loads(next(message.data for message in messages if message.event == "data")) == [word] * 61


@row("a turn that is stopped or fails")
async def _partial_turn() -> None:
    conversations = MemoryConversationStore()
    body = {"prompt": "hi", "sessionId": "s"}
    await messages_of("stream", body, "par", RuntimeError("no"), conversations=conversations)
    assert [message["content"] for message in (await conversations.load("s")).messages] == ["hi", "par"]


@row("a title")
async def _title() -> None:
    assert await request("title", CHAT, " A ", "title ") == (200, b"A title")


@row("a reader that leaves")
async def _leaves() -> None:
    model = ScriptedModel(*ENDLESS, rate=1000)
    handler = StreamHandler(model=model)
    reply = await handler.stream({"prompt": "hi"})
    assert not isinstance(reply.body, bytes)
    await anext(reply.body)
    began = time.monotonic()
    await reply.body.aclose()
    assert model.closed == 1
    assert time.monotonic() - began < 10


@row("`AgentController`")
async def _agent() -> None:
    assert (await request("agent", CHAT, "x"))[0] == 404


@row("reasoning and the results of tools")
async def _other_events() -> None:
    messages = await messages_of("stream", {"prompt": "hi"}, ReasoningDelta("hm"), TextDelta("text"))
    assert [message.event for message in messages] == ["", "done"]


@pytest.mark.parametrize("name", CHECKS)
async def test_row(name: str) -> None:
    await CHECKS[name]()


def test_each_row_has_a_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = page.split("## Requests and replies\n")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[2:] == list(CHECKS)
