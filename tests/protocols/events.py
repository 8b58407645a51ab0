"""Streams of events for tests of formats, at random, and cut into batches as live and stored streams are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from aibind.protocols import Encoder
from aibind.streams import EventBatch, StreamEnd, StreamEvent

__all__ = ["ENDS", "EVENTS", "batches_of", "encode", "joined", "named"]


def named(name: str, /, **fields: object) -> StreamEvent:
    """Return an event whose data is an object."""
    return StreamEvent(name, json.dumps(fields))


def batches_of(events: Sequence[StreamEvent], end: StreamEnd | None, cuts: Iterable[int] = ()) -> list[EventBatch]:
    """Return events in batches that end after so many events each; the last one has the end."""
    batches: list[EventBatch] = []
    numbered = list(enumerate(events, 1))
    begin = 0
    for stop in sorted({min(cut, len(events)) for cut in cuts} | {len(events)}):
        batches.append(EventBatch(tuple(numbered[begin:stop]), begin, stop))
        begin = stop
    last = batches.pop()
    return [*batches, EventBatch(last.events, last.after, last.position, end)]


def encode(batches: Iterable[EventBatch], encoder: Encoder) -> bytes:
    """Return a stream in a format."""
    data = encoder.opening
    for batch in batches:
        more, encoder = encoder(batch)
        data += more
    return data


def joined(chunks: Iterable[Any]) -> Iterator[Any]:
    """Yield the chunks of a UI message, with adjacent deltas of one text as one, and without ``[DONE]`` (None)."""
    last: Any = None
    for chunk in chunks:
        is_delta = last and chunk and chunk["type"] in ("text-delta", "reasoning-delta")
        if is_delta and (last["type"], last.get("id")) == (chunk["type"], chunk["id"]):
            last = {**last, "delta": last["delta"] + chunk["delta"]}
            continue
        if last:
            yield last
        last = chunk
    if last:
        yield last


_KEYS = st.text(max_size=5) | st.sampled_from(["__proto__", "constructor", "id", "url", "title"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=6,
)
_IDS = st.sampled_from(["a", "b", "", "__proto__"])
_NAMES = st.sampled_from(["clock", "weather", "__proto__", ""])
_TEXTS = st.text(min_size=1, max_size=6) | st.sampled_from(["\ud83d", "\r\n", "data: x\n\n", "[DONE]"])
_URLS = st.fixed_dictionaries(
    {"url": st.text(max_size=5)}, optional={"title": _JSON, "mediaType": st.text(max_size=5), "id": _JSON}
)

EVENTS = st.lists(
    st.one_of(
        st.builds(StreamEvent, st.just(""), _TEXTS),
        st.builds(StreamEvent, st.just("reasoning"), _TEXTS),
        st.builds(lambda id_, name, args: named("tool_call", id=id_, name=name, args=args), _IDS, _NAMES, _JSON),
        st.builds(
            lambda id_, name, text: named("tool_call_delta", id=id_, name=name, delta=text), _IDS, _NAMES, _TEXTS
        ),
        st.builds(lambda id_, name, value: named("tool_result", id=id_, name=name, result=value), _IDS, _NAMES, _JSON),
        st.builds(lambda id_, runs: named("approval_request", id=id_, details={"runs": runs}), _IDS, _JSON),
        st.builds(lambda id_, approved: named("approval", id=id_, approved=approved), _IDS, st.booleans()),
        st.builds(lambda value: named("usage", **value), st.dictionaries(st.text(max_size=5), _JSON)),
        st.builds(StreamEvent, st.just("finish"), st.sampled_from(["length", "tool_calls", "stopped", "é"])),
        st.builds(
            lambda name, value: StreamEvent(name, json.dumps(value)),
            st.sampled_from(["source", "citation", "file", "partial", "data", "tool_call", "usage", "progress", "a b"]),
            _JSON | _URLS | st.builds(lambda value: {"url_citation": value}, _URLS),
        ),
        st.builds(StreamEvent, st.text("abü-_ ", min_size=1, max_size=4), st.text(max_size=6)),
    ),
    max_size=14,
)
"""Events of any kind, in any order, those of applications and damaged ones included."""

ENDS = st.sampled_from([StreamEnd("done"), StreamEnd("stopped"), StreamEnd("error", 'It "failed"\n')])
"""The ends of streams."""
