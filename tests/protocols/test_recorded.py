"""Recorded responses: what is stored, byte for byte, wherever the source cuts its messages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aibind.protocols.recorded import Recorded, RecordedEncoder, record, source_id
from aibind.streams import EventBatch, StreamEnd, StreamEvent

SSE = Recorded(200, (("content-type", "text/event-stream; charset=utf-8"), ("x-format", "v1")))
BYTES = Recorded(201, (("content-type", "application/octet-stream"),))

ADDED = re.compile(rb"id: aibind:\d+\n")

LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
FIELDS = st.sampled_from(
    ["data: {}", "data:é👋", "data", ": ping", "event: x", "id: 7", "id", "retry: 5", "identity: 9"]
)


async def pieces(*given: str | bytes) -> AsyncIterator[str | bytes]:
    for piece in given:
        yield piece


async def recorded(response: Recorded, *given: str | bytes) -> list[StreamEvent]:
    events = [event async for event in record(response, pieces(*given))]
    return [StreamEvent("", event) if isinstance(event, str) else event for event in events]


def replayed(response: Recorded, events: list[StreamEvent]) -> bytes:
    batch = EventBatch(tuple(enumerate(events, 1)), 0, len(events), StreamEnd("done"))
    return RecordedEncoder(response)(batch)[0]


async def test_the_response_is_the_first_event() -> None:
    events = await recorded(SSE, "data: 1\n\n")
    assert Recorded.of(events[0]) == SSE
    assert [Recorded.of(event) for event in (*events[1:], StreamEvent("", "x"), StreamEvent("response", "{"))] == [
        None
    ] * 3
    assert RecordedEncoder(SSE).headers == dict(SSE.headers)
    assert (RecordedEncoder(SSE).replays, RecordedEncoder(BYTES).replays) == (False, True)


async def test_each_message_is_an_event_and_has_an_id() -> None:
    events = await recorded(SSE, "data: 1\n\ndata: 2\n", "\n: ping\n\nid: mine\ndata: 3\n\nda", "ta: 4")
    assert len(events) == 1 + 5
    assert replayed(SSE, events) == (
        b"id: aibind:2\ndata: 1\n\nid: aibind:3\ndata: 2\n\n: ping\n\nid: mine\ndata: 3\n\nid: aibind:6\ndata: 4"
    )
    assert [event.data for event in events[1:] if event.is_text] == [
        "data: 1\n\n",
        "data: 2\n\n",
        ": ping\n\n",
        "id: mine\ndata: 3\n\n",
        "data: 4",
    ]
    assert [source_id(event.data) for event in events[1:]] == [None, None, None, "mine", None]


@given(st.lists(st.tuples(st.lists(FIELDS, max_size=3), LINE_ENDS), max_size=5), st.data())
async def test_replays_are_exact_wherever_the_source_cuts(
    messages: list[tuple[list[str], str]], data: st.DataObject
) -> None:
    sent = "".join("".join(field + end for field in fields) + end for fields, end in messages).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=6)) | {0, len(sent)})
    cut = [sent[begin:end] for begin, end in pairwise(cuts)]
    assert ADDED.sub(b"", replayed(SSE, await recorded(SSE, *cut))) == sent
    assert replayed(BYTES, await recorded(BYTES, *cut)) == sent


@given(st.lists(st.binary(), max_size=6))
async def test_any_bytes_are_kept(given: list[bytes]) -> None:
    assert replayed(BYTES, await recorded(BYTES, *given)) == b"".join(given)


async def test_a_mark_at_the_beginning_stays_there() -> None:
    assert replayed(SSE, await recorded(SSE, "\ufeffdata: 1\n\n")) == "\ufeffid: aibind:2\ndata: 1\n\n".encode()


def test_silence_and_errors_are_told_in_server_sent_events_alone() -> None:
    failed = EventBatch.silent(3, StreamEnd("error", "producer lost"))
    assert RecordedEncoder(SSE)(EventBatch.silent(3))[0] == b": ping\n\n"
    assert RecordedEncoder(SSE)(failed)[0] == b'event: error\ndata: {"error":"producer lost"}\n\n'
    assert [RecordedEncoder(BYTES)(batch)[0] for batch in (EventBatch.silent(3), failed)] == [b"", b""]
