"""Errors of a model's endpoint reach clients as our own sentences: not in events, answers, conversations or streams."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.models import OpenAIModel
from aibind.server import Endpoints, StreamHandler
from aibind.streams import MemoryStreamStore, SseParser
from tests.support.endpoint import Endpoint, Reply

SECRET = "db-7.internal"
UPSTREAM = json.dumps({"error": {"message": f"{SECRET} has no quota for org-123", "type": "x", "code": "y"}})
WORDS = '{"choices": [{"index": 0, "delta": {"content": "so far"}}]}'

CASES = {
    "a status": (Reply(status=400, body=UPSTREAM.encode()), "The model's endpoint answered 400"),
    "a page": (Reply(status=502, body=f"<h1>{SECRET}</h1>".encode(), content_type="text/html"), "answered 502"),
    "an error in the stream": (Reply([WORDS, UPSTREAM], done=False), "endpoint"),
    "garbage": (Reply([WORDS, f"{SECRET} {{"], done=False), "a data line that is not JSON"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])
async def test_what_an_endpoint_says_is_logged_and_not_shown(
    case: str, resumable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reply, expected = CASES[case]
    store, conversations = MemoryStreamStore(), MemoryConversationStore()
    async with (
        Endpoint(reply, reply) as endpoint,
        OpenAIModel("any", base_url=endpoint.base_url, max_retries=0) as model,
    ):
        options: dict[str, Any] = {"store": store} if resumable else {}
        handler = StreamHandler(model=model, resumable=resumable, conversations=conversations, **options)
        response = await handler.stream({"prompt": "x", "sessionId": "s"})
        assert not isinstance(response.body, bytes)
        shown = b"".join([data async for data in response.body])
        error = next(message.data for message in SseParser().feed(shown) if message.event == "error")
        assert expected in error
        answer = await ask(Endpoints(handler))
    kept = (await conversations.load("s")).to_json()
    status = repr(await store.get_status(response.headers["X-Stream-Id"])) if resumable else ""
    for text in (shown.decode(), answer, kept, status):
        assert SECRET not in text
        assert "org-123" not in text
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(SECRET in line or "web page" in line for line in logged)


async def test_an_internal_address_is_not_shown() -> None:
    async with OpenAIModel("any", base_url="http://127.0.0.1:1/v1", max_retries=0) as model:
        answer = await ask(Endpoints(StreamHandler(model=model)))
    assert answer == '{"error":"The model\'s endpoint cannot be reached"}'


async def ask(endpoints: Endpoints) -> str:
    async def read_body() -> bytes:
        return b'{"input": "x"}'

    response = await endpoints.answer("POST", "/__aibind__/complete", "", {}, read_body)
    assert response.status == 502
    assert isinstance(response.body, bytes)
    return response.body.decode()
