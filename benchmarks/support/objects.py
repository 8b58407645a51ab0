"""Replies in a Durable Object inside workerd, with the operations that are billed."""

from __future__ import annotations

import time
from typing import Any

from testbed.workerd.prices import Operations, operations_of
from testbed.workerd.rig import Rig

from .clocked import ClockedText
from .measure import percentile
from .result import Figures

__all__ = ["count_operations", "object_a_conversation", "object_a_reply"]

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
    count_operations(rig)
    began = time.monotonic()
    stream_id, delays_ms = _read(rig, body, tokens)
    seconds = time.monotonic() - began
    operations = count_operations(rig) + Operations(worker_requests=1, object_s=seconds)
    if resumed:
        with rig.client("objects") as client:
            response = client.get(f"{STREAM}/resume", params={"id": stream_id, "after": "0"})
            assert response.content.count(b"@") == tokens, response.text
        operations += (count_operations(rig) + Operations(worker_requests=1)) * resumed
    time.sleep(SWEEP_S)
    operations += count_operations(rig)
    return operations, {"p50_ms": round(percentile(delays_ms, 50), 2), "p99_ms": round(percentile(delays_ms, 99), 2)}


def count_operations(rig: Rig) -> Operations:
    """Return what the objects of the Worker ``objects`` have done since its meter was last read."""
    return operations_of(rig.meter("objects", 0))


def _read(rig: Rig, body: dict[str, Any], tokens: int) -> tuple[str, list[float]]:
    text = ClockedText()
    with rig.client("objects") as client, client.stream("POST", STREAM, json=body) as response:
        stream_id = response.headers["x-stream-id"]
        for data in response.iter_raw():
            text.take(data, round(time.time() * 1_000_000))
    if len(text.delays_ms) != tokens:
        raise AssertionError(f"of {tokens} tokens, {len(text.delays_ms)} arrived")
    return stream_id, text.delays_ms
