"""Tools that a request brings with it: the model is offered them, and their calls wait for the page."""

from __future__ import annotations

from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.errors import RequestError
from aibind.models import ModelEvent, ModelRequest, TextDelta, ToolCall
from aibind.server import Limits, StreamHandler, Tool

PICK = {"name": "pick_date", "description": "Lets the user pick a date", "parameters": {"type": "object"}}


class Clerk:
    """A model that calls a tool, and says what came of it; it keeps the requests."""

    def __init__(self, call: ToolCall) -> None:
        self._call = call
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> Any:
        self.asked.append(request)
        event: ModelEvent = self._call
        if request.messages[-1]["role"] == "tool":
            event = TextDelta(f"You said {request.messages[-1]['content']}")
        yield event


async def look() -> str:
    return "here"


def make_handler(model: Any, **options: Any) -> StreamHandler:
    return StreamHandler(
        model=model,
        resumable=True,
        conversations=MemoryConversationStore(),
        toolsets={"eyes": [Tool("look", "Looks", look)]},
        **options,
    )


async def read(response: Any) -> str:
    return b"".join([data async for data in response.body]).decode()


@pytest.mark.parametrize("toolset", [{}, {"toolset": "eyes"}])
async def test_a_call_waits_for_the_page_and_goes_on_with_the_same_tools(toolset: dict[str, str]) -> None:
    model = Clerk(ToolCall("c1", "pick_date", "{}"))
    handler = make_handler(model)
    body = {"prompt": "When?", "sessionId": "s", "tools": [PICK, {"name": "beep"}], **toolset}
    assert '"runs":"page"' in await read(await handler.stream(body))
    reply = await handler.approvals.answer("s", {"approvals": {"c1": {"result": {"day": 3}}}})
    assert 'You said {"day":3}' in await read(reply)
    offered = [list(request.tools) for request in model.asked]
    assert offered[0] == offered[1]
    assert offered[0][-2:] == [
        PICK,
        {"name": "beep", "description": "", "parameters": {"type": "object", "properties": {}}},
    ]
    await handler.aclose()


async def test_a_tool_of_the_server_comes_first() -> None:
    model = Clerk(ToolCall("c1", "look", "{}"))
    handler = make_handler(model)
    tools = [{"name": "look", "description": "Forged"}]
    body = {"prompt": "Where?", "sessionId": "s", "toolset": "eyes", "tools": tools}
    assert 'You said "here"' in await read(await handler.stream(body))
    assert [tool["description"] for tool in model.asked[0].tools] == ["Looks"]
    await handler.aclose()


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ({}, "a list of at most 128"),
        ([PICK] * 129, "a list of at most 128"),
        ([PICK, PICK], "two of one name"),
        (["pick"], "needs a name"),
        ([{"name": ""}], "needs a name"),
        ([{"name": "a b"}], "needs a name"),
        ([{"name": "a", "description": 1}], '"a" has a description'),
        ([{"name": "a", "parameters": []}], '"a" has parameters'),
    ],
)
async def test_refused(tools: object, message: str) -> None:
    handler = make_handler(Clerk(ToolCall("c1", "look", "{}")))
    with pytest.raises(RequestError, match=message):
        await handler.stream({"prompt": "When?", "sessionId": "s", "tools": tools})


async def test_descriptions_count_as_text() -> None:
    handler = make_handler(Clerk(ToolCall("c1", "look", "{}")), limits=Limits(message_chars=20))
    with pytest.raises(RequestError, match="tools has descriptions of 25 characters"):
        await handler.stream({"prompt": "When?", "sessionId": "s", "tools": [PICK]})
