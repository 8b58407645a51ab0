"""Replies in a Durable Object inside workerd, with the operations that are billed."""

from __future__ import annotations

import time
from typing import Any

from testbed.workerd.rig import Rig

from .clocked import ClockedText
from .measure import percentile
from .prices import Operations
from .result import Figures

__all__ = ["object_a_conversation", "object_a_reply"]

STREAM = "/__aibind__/stream"
SWEEP_S = 3.0
"""Seconds after the end of a reply until its object has removed it."""


def object_a_reply(rig: Rig, tokens: int, rate: float, resumed: float) -> tuple[Operations, Figures]:
    """Count a reply that has an object for itself, from the making of its tables to its removal."""
    return _count(rig, {"prompt": f"{tokens} {rate:g}"}, tokens, resumed)


def object_a_conversation(rig: Rig, tokens: int, rate: float, resumed: float) -> tuple[Operations, Figures]:
    """Count the second reply of a conversation."""
    body = {"prompt": f"{tokens} {rate:g}", "sessionId": f"engines-{tokens}"}
    _count(rig, body, tokens, 0)
    return _count(rig, body, tokens, resumed)


def _count(rig: Rig, body: dict[str, Any], tokens: int, resumed: float) -> tuple[Operations, Figures]:
    before = _counts(rig)
    began = time.monotonic()
    stream_id, delays_ms = _read(rig, body, tokens)
    seconds = time.monotonic() - began
    written = _counts(rig)
    if resumed:
        with rig.client("objects") as client:
            response = client.get(f"{STREAM}/resume", params={"id": stream_id, "after": "0"})
            assert response.content.count(b"@") == tokens, response.text
    read_again = _counts(rig)
    time.sleep(SWEEP_S)
    after = _counts(rig)
    operations = (
        Operations(worker_requests=1, object_requests=1, object_s=seconds)
        + _rows(before, written)
        + (Operations(worker_requests=1, object_requests=1) + _rows(written, read_again)) * resumed
        + Operations(object_requests=after.get("alarms", 0) - before.get("alarms", 0))
        + _rows(read_again, after)
    )
    return operations, {"p50_ms": round(percentile(delays_ms, 50), 2), "p99_ms": round(percentile(delays_ms, 99), 2)}


def _read(rig: Rig, body: dict[str, Any], tokens: int) -> tuple[str, list[float]]:
    text = ClockedText()
    with rig.client("objects") as client, client.stream("POST", STREAM, json=body) as response:
        stream_id = response.headers["x-stream-id"]
        for data in response.iter_raw():
            text.take(data, round(time.time() * 1_000_000))
    if len(text.delays_ms) != tokens:
        raise AssertionError(f"of {tokens} tokens, {len(text.delays_ms)} arrived")
    return stream_id, text.delays_ms


def _counts(rig: Rig) -> dict[str, int]:
    with rig.client("objects") as client:
        counts: dict[str, int] = client.get("/counts").json()
    return counts


def _rows(before: dict[str, int], after: dict[str, int]) -> Operations:
    return Operations(
        rows_read=after.get("rows_read", 0) - before.get("rows_read", 0),
        rows_written=after.get("rows_written", 0) - before.get("rows_written", 0),
    )
