"""The endpoints answer as the JavaScript server was recorded to, but for the differences that are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import MemoryConversationStore
from aibind.models import Usage
from aibind.server import Endpoints, HttpResponse, StreamHandler
from tests.support.differences import with_ids_on_named_events
from tests.support.models import ScriptedModel

RECORDED = json.loads((Path(__file__).parent.parent / "fixtures" / "stream_handler.json").read_text())
USAGE = Usage(12, 5)
DIFFERENT = {
    "resume unknown id": (404, "application/json", '{"error":"Stream \\"x\\" does not exist or has expired"}'),
    "invalid json body": (400, "application/json", '{"error":"The body is not valid JSON"}'),
}


def make_model(name: str) -> ScriptedModel:
    if name == "structured":
        return ScriptedModel("{", '"a":1', ',"b":"x"', "}", usage=USAGE)
    if name == "structured no schema":
        return ScriptedModel("{", '"a":1', "}", usage=USAGE)
    return ScriptedModel("Hello", " ", "world", usage=USAGE)


async def read(reply: HttpResponse[Any]) -> str:
    body = reply.body if isinstance(reply.body, bytes) else b"".join([data async for data in reply.body])
    return body.decode().replace(reply.headers.get("X-Stream-Id", "no stream"), "STREAM_ID")


@pytest.mark.parametrize("case", RECORDED["requests"], ids=lambda case: case["name"])
async def test_recorded_request(case: dict[str, Any]) -> None:
    handler = StreamHandler(
        models={"fast": make_model(case["name"]), "smart": ScriptedModel("Deep", usage=USAGE)},
        resumable="resumable" in case["config"],
        flush_interval_ms=0,
    )
    endpoints = Endpoints(handler, prefix="/api/ai") if "prefix" in case["config"] else Endpoints(handler)
    path, _, query = case["path"].partition("?")
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])

    async def read_body() -> bytes:
        return body.encode()

    reply = await endpoints.answer(case["method"], path, query, {}, read_body)
    text = await read(reply)
    if case["name"] in DIFFERENT:
        assert (reply.status, reply.headers["Content-Type"], text) == DIFFERENT[case["name"]]
        return
    expected = case["text"]
    if case["xStreamId"]:
        expected = with_ids_on_named_events(expected, 1)
    assert text == expected
    assert reply.status == case["status"]
    assert reply.headers["Content-Type"] == case["contentType"]
    assert reply.headers.get("Cache-Control") == case["cacheControl"]
    assert ("X-Stream-Id" in reply.headers) == case["xStreamId"]


async def test_recorded_session() -> None:
    store = MemoryConversationStore()
    handler = StreamHandler(model=make_model("stream"), conversations=store)
    await read(await handler.stream({"prompt": "remember me", "sessionId": "s"}))
    assert list((await store.load("s")).messages) == RECORDED["session_after_one_turn"]
