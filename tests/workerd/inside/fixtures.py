"""The recorded rows and answers of the JavaScript packages, byte for byte, on D1."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from aibind.cloudflare import wrap_d1
from aibind.errors import AibindError, MalformedTreeError
from aibind.history import ChatHistory
from aibind.sqlite import SqliteStreamStore
from aibind.streams import DurableStream, SseParser, StreamEvent, encode_message
from aibind.testing.checks import Check, raises
from tests.support.differences import with_ids_on_named_events

from .bench import Bench, checks_of_each_kind, checks_once

FOLDER = Path(__file__).parent.parent.parent / "fixtures"


def _recorded(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


class ModelBrokeError(AibindError):
    """Raised when a recorded source throws."""


async def _source(chunks: list[dict[str, str]]) -> AsyncIterator[StreamEvent]:
    for chunk in chunks:
        if "throw" in chunk:
            raise ModelBrokeError(chunk["throw"])
        yield StreamEvent(chunk["event"], chunk["data"])


async def _text(body: AsyncIterator[bytes]) -> str:
    return b"".join([data async for data in body]).decode()


async def _stream(case: dict[str, Any], bench: Bench) -> None:
    store = SqliteStreamStore(wrap_d1(bench.db))
    stream = await DurableStream.create(store, _source(case["chunks"]), flush_interval_ms=0)
    sent = (await _text(stream.response().body)).replace(stream.id, "STREAM_ID")
    assert sent == with_ids_on_named_events(case["text"], 1)
    rows = await wrap_d1(bench.db).execute("SELECT seq, data FROM aibind_stream_chunks ORDER BY seq")
    assert rows.rows == case["rows"]
    status = (await wrap_d1(bench.db).execute("SELECT state, error, total_chunks FROM aibind_stream_status")).rows[0]
    assert status["state"] == case["status"]["state"]
    assert status["error"] == case["status"].get("error")
    assert status["total_chunks"] == case["status"]["totalChunks"]
    for after, text in case["resume"].items():
        other = SqliteStreamStore(wrap_d1(bench.db))
        resumed = await DurableStream.resume(other, stream.id, int(after))
        assert await _text(resumed.body) == with_ids_on_named_events(text, int(after) + 1)


def _add(checks: Any, name: str, run: Any, cases: list[Any]) -> None:
    """Add a check for each recorded case."""
    for case in cases:

        async def check(bench: Bench, case: Any = case) -> None:
            await run(case, bench)

        checks._checks.append(Check(f"{name} {case['name']}", check))


async def _chat(case: dict[str, Any], _bench: Bench) -> None:
    chat = ChatHistory.from_json(case["json"])
    assert chat.to_json() == case["json"]
    assert chat.messages == case["messages"]
    assert chat.node_ids == case["nodeIds"]


async def _malformed(case: dict[str, Any], _bench: Bench) -> None:
    with raises(MalformedTreeError):
        ChatHistory.from_json(case["json"])


_add(checks_of_each_kind, "recorded stream:", _stream, _recorded("durable_stream.json"))
_add(checks_once, "recorded chat:", _chat, _recorded("chat_history.json"))
_add(checks_once, "recorded malformed tree:", _malformed, _recorded("malformed_trees.json"))


@checks_once
async def recorded_messages_are_encoded_byte_for_byte(_bench: Bench) -> None:
    recorded = _recorded("sse.json")
    for case in recorded["format"]:
        message_id, data, *event = case["args"]
        assert encode_message(data, id=message_id, event=event[0] if event else "") == case["text"].encode()
    for case in recorded["format_event"]:
        event, *data = case["args"]
        assert encode_message(data[0] if data else "", event=event) == case["text"].encode()


@checks_once
async def recorded_streams_are_parsed_wherever_they_are_cut(_bench: Bench) -> None:
    for case in _recorded("sse.json")["consume"]:
        data = case["text"].encode()
        cuts = [0, *case["cut"], len(data)]
        parser = SseParser()
        found = [message for start, end in pairwise(cuts) for message in parser.feed(data[start:end])]
        found += parser.flush()
        assert [{"id": one.id, "data": one.data, "event": one.event} for one in found] == case["messages"]
