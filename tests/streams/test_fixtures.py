"""What the JavaScript packages were recorded to write and send, byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aibind.errors import AibindError
from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream, MemoryStreamStore, SseParser, StreamEvent, encode_message
from tests.support.differences import with_ids_on_named_events

FIXTURES = Path(__file__).parent.parent / "fixtures"
SSE: dict[str, list[dict[str, Any]]] = json.loads((FIXTURES / "sse.json").read_text())
STREAMS: list[dict[str, Any]] = json.loads((FIXTURES / "durable_stream.json").read_text())


class ModelBrokeError(AibindError):
    """What a recorded source throws."""


async def _source(chunks: list[dict[str, str]]) -> AsyncIterator[StreamEvent]:
    for chunk in chunks:
        if "throw" in chunk:
            raise ModelBrokeError(chunk["throw"])
        yield StreamEvent(chunk["event"], chunk["data"])


@pytest.mark.parametrize("case", SSE["format"], ids=lambda case: repr(case["args"][1]))
def test_recorded_message(case: dict[str, Any]) -> None:
    message_id, data, *event = case["args"]
    assert encode_message(data, id=message_id, event=event[0] if event else "") == case["text"].encode()


@pytest.mark.parametrize("case", SSE["format_event"], ids=lambda case: case["args"][0])
def test_recorded_event(case: dict[str, Any]) -> None:
    event, *data = case["args"]
    assert encode_message(data[0] if data else "", event=event) == case["text"].encode()


@pytest.mark.parametrize("case", SSE["consume"], ids=lambda case: repr(case["text"])[:40])
def test_recorded_parse(case: dict[str, Any]) -> None:
    data = case["text"].encode()
    cuts = [0, *case["cut"], len(data)]
    parser = SseParser()
    messages = [message for start, end in pairwise(cuts) for message in parser.feed(data[start:end])]
    messages += parser.flush()
    got = [{"id": message.id, "data": message.data, "event": message.event} for message in messages]
    assert got == case["messages"]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
async def test_recorded_stream(case: dict[str, Any], backend: str, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "streams.db") as client:
        await migrate(client)
        store = MemoryStreamStore() if backend == "memory" else SqliteStreamStore(client)
        stream = await DurableStream.create(store, _source(case["chunks"]), flush_interval_ms=0)
        response = stream.response()
        sent = b"".join([data async for data in response.body]).decode().replace(stream.id, "STREAM_ID")
        assert sent == with_ids_on_named_events(case["text"], 1)
        headers = {name.lower(): value for name, value in response.headers.items()}
        recorded = {name: value for name, value in case["headers"].items() if name != "connection"}
        assert headers == {**recorded, "x-stream-id": stream.id}

        status = await store.get_status(stream.id)
        assert status is not None
        assert status.state == case["status"]["state"]
        assert status.total_chunks == case["status"]["totalChunks"]
        assert status.error == case["status"].get("error")
        rows = [{"seq": chunk.seq, "data": chunk.data} async for chunk in store.read_from(stream.id)]
        assert rows == case["rows"]

        for after, text in case["resume"].items():
            resumed = await DurableStream.resume(store, stream.id, int(after))
            sent = b"".join([data async for data in resumed.body]).decode()
            assert sent == with_ids_on_named_events(text, int(after) + 1)
