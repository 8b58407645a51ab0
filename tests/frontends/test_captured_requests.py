"""Requests as clients sent them, replayed against our apps: every one that was captured."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from aibind.conversations import MemoryConversationStore
from aibind.models import ModelEvent, ModelRequest, TextDelta, ToolCall
from aibind.server import StreamHandler, Tool, create_agent_app, create_chat_app
from tests.frontends.captured import captured, headers_of
from tests.frontends.chat_server import clock
from tests.support.http import serve

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Model:
    """A model that answers as the server did from which the requests were captured; it keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.asked.append(request)
        last = request.messages[-1]
        if last["role"] == "tool":
            yield TextDelta(f"So {last['content']}")
        elif last["content"] == "What time is it?":
            yield ToolCall("call_1", "clock", '{"zone": "Mars"}')
        elif last["content"] == "Client tool":
            yield ToolCall("call_2", "ask", '{"q": 1}')
        else:
            yield TextDelta(f"Answer {len(self.asked)}")


class Replay:
    """A client that sends captured requests, with our ids for the answers that it had from elsewhere."""

    def __init__(self, client: httpx2.AsyncClient, model: Model) -> None:
        self._client = client
        self.model = model
        self._ids: dict[str, str] = {}

    async def send(self, request: dict[str, Any]) -> httpx2.Response:
        """Send a request, and return its answer."""
        path, text = request["path"], json.dumps(request["body"])
        for theirs, ours in self._ids.items():
            path, text = path.replace(theirs, ours), text.replace(json.dumps(theirs), json.dumps(ours))
        content = None if request["body"] is None else text.encode()
        return await self._client.request(request["method"], path, headers=headers_of(request), content=content)

    def name(self, theirs: str, ours: str) -> None:
        """Note that what they called so has another id here."""
        self._ids[theirs] = ours


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    model = Model()
    handler = StreamHandler(
        models={"any": model, "smart": model},
        resumable=True,
        conversations=MemoryConversationStore(),
        toolsets={"all": [Tool("clock", "Tells the time", clock), Tool("ask", "Asks on the page", None)]},
    )
    chats = create_chat_app(handler, options={"toolset": "all"}, typed_tools=["ask"])
    agents = create_agent_app(handler, options={"toolset": "all"})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (agents if scope["path"].startswith("/agent") else chats)(scope, receive, send)

    async with serve(app) as url, httpx2.AsyncClient(base_url=url) as client:
        yield Replay(client, model)
    await handler.aclose()


def chunks_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Return the JSON of an answer's events."""
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def text_in(chunks: list[dict[str, Any]]) -> str:
    """Return the text of an answer."""
    kinds = ("text-delta", "TEXT_MESSAGE_CONTENT")
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] in kinds)


async def stored(replay: Replay, chat: str) -> list[tuple[str, str]]:
    """Return the roles and texts of a stored chat."""
    answer = await replay.send({"method": "GET", "path": f"/api/chat/{chat}", "headers": {}, "body": None})
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return [(one["role"], "".join(part.get("text", "") for part in one["parts"])) for one in messages]


async def test_the_ai_sdk_sends_regenerates_and_edits(replay: Replay) -> None:
    """In this order: send, send, regenerate, regenerate an earlier answer, edit, send with a file and other fields."""
    expected = [
        [("First question", 1)],
        [("First question", 1), ("Second", 2)],
        [("First question", 1), ("Second", 3)],
        [("First question", 4)],
        [("Edited first", 5)],
        [("Edited first", 5), ("With a file", 6)],
    ]
    for number, (request, turns) in enumerate(zip(captured("ai-sdk-send")["requests"], expected, strict=True)):
        chunks = chunks_of(await replay.send(request))
        assert text_in(chunks) == f"Answer {number + 1}"
        replay.name(f"srv-{number}", chunks[0]["messageId"])
        said = [pair for question, answer in turns for pair in (("user", question), ("assistant", f"Answer {answer}"))]
        assert await stored(replay, "chat-1") == said
    (picture,) = (part for part in replay.model.asked[-1].messages[-1]["content"] if part["type"] == "image_url")
    assert picture["image_url"]["url"] == "data:image/png;base64,aGk="


async def test_the_ai_sdk_and_tools(replay: Replay) -> None:
    """A tool that runs here, and one of the page, whose output the client sends."""
    requests = captured("ai-sdk-tools")["requests"]
    for request, theirs in zip(requests[:2], ("srv-t", "srv-c"), strict=True):
        chunks = chunks_of(await replay.send(request))
        replay.name(theirs, chunks[0]["messageId"])
    assert [chunk["toolName"] for chunk in chunks if chunk["type"] == "tool-input-available"] == ["ask"]
    assert text_in(chunks_of(await replay.send(requests[2]))) == 'So {"a":42}'


@pytest.mark.parametrize("number", range(3))
async def test_the_ai_sdk_resumes_nothing(replay: Replay, number: int) -> None:
    answer = await replay.send(captured("ai-sdk-resume")["requests"][number])
    assert (answer.status_code, answer.content) == (204, b"")


CUTS = captured("ai-sdk-disconnect-resume")["cases"]


@pytest.mark.parametrize("name", CUTS)
async def test_the_ai_sdk_comes_back(replay: Replay, name: str) -> None:
    sent, resumed = [chunks_of(await replay.send(request)) for request in CUTS[name]["requests"]]
    assert sent == resumed
    assert resumed[0]["type"] == "start"
    assert len(replay.model.asked) == 1


async def test_the_ai_sdk_stops(replay: Replay) -> None:
    (request,) = captured("ai-sdk-stop")["requests"]
    assert text_in(chunks_of(await replay.send(request))) == "Answer 1"


async def test_assistant_ui_resumes(replay: Replay) -> None:
    sending, resuming = captured("assistant-ui-resumable")["requests"]
    answer = await replay.send(sending)
    replay.name("stream-1", answer.headers["x-resumable-stream-id"])
    assert (await replay.send(resuming)).text == answer.text


DATA_STREAM = [
    (name, request)
    for name, case in captured("assistant-ui-data-stream")["cases"].items()
    for request in case["requests"]
]


@pytest.mark.parametrize("request_", [request for _, request in DATA_STREAM], ids=[name for name, _ in DATA_STREAM])
async def test_assistant_ui_without_a_chat_is_told_what_is_missing(replay: Replay, request_: dict[str, Any]) -> None:
    """``useDataStreamRuntime`` names no conversation: use assistant-ui's transport for the AI SDK."""
    answer = await replay.send(request_)
    assert (answer.status_code, answer.json()) == (400, {"error": "id is required: the id of the chat"})


async def test_ag_ui_sends(replay: Replay) -> None:
    """A text, a tool that runs here with the tools and the context of the page, and a message with a picture."""
    requests = captured("ag-ui-send")["requests"]
    first, second, third = [chunks_of(await replay.send(request)) for request in requests]
    assert [text_in(chunks) for chunks in (first, second, third)] == [
        "Answer 1",
        'So {"time":"12:00 on Mars"}',
        "Answer 4",
    ]
    assert [chunks[-1]["runId"] for chunks in (first, second, third)] == [one["body"]["runId"] for one in requests]
    system = replay.model.asked[1].system
    assert system is not None
    assert system.endswith("d: v")
    (picture,) = (part for part in replay.model.asked[-1].messages[-1]["content"] if part["type"] == "image_url")
    assert picture["image_url"]["url"] == "data:image/png;base64,aGk="


async def test_ag_ui_leaves(replay: Replay) -> None:
    (request,) = captured("ag-ui-stop")["requests"]
    assert text_in(chunks_of(await replay.send(request))) == "Answer 1"


def test_every_file_with_requests_is_replayed() -> None:
    """A file that is added has to be replayed as well."""
    from tests.frontends.captured import FOLDER

    here = (FOLDER.parents[1] / "frontends/test_captured_requests.py").read_text()
    for file in FOLDER.glob("*.json"):
        if '"requests"' in file.read_text():
            assert f'captured("{file.stem}")' in here, file.name
