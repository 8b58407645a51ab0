"""Replies in Durable Objects inside workerd: their followers, and stops, through one Worker or another."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.workerd.install import ROOT
from testbed.workerd.rig import Rig, Worker
from testbed.workerd.setting import parse_setting

from .measure import delay_figures, percentile
from .object_readers import Readers
from .result import Figures, Say

__all__ = ["follow_object", "open_objects", "stop_object", "warm_up"]

FILES = {"entry.py": ROOT / "benchmarks" / "support" / "object_crowd_entry.py"}
STREAM = "/__aibind__/stream"


@contextmanager
def open_objects(say: Say) -> Iterator[Rig]:
    """Run workerd with the Worker ``first``, which has the objects, and ``second``, which reaches them."""
    say("starting workerd")
    workers = [
        Worker("first", FILES, objects={"CHATS": "Chat"}),
        Worker("second", FILES, objects={"CHATS": "Chat@first"}),
    ]
    rig = Rig(parse_setting("py314"), workers)
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()


def _begin(rig: Rig, session_id: str, prompt: str) -> str:
    """Begin a reply, whose client leaves, and return the stream's id."""
    body = {"prompt": prompt, "sessionId": session_id}
    with rig.client("first") as client, client.stream("POST", STREAM, json=body) as response:
        return str(response.headers["x-stream-id"])


def warm_up(rig: Rig) -> None:
    """Answer and follow once through each Worker, whose Python takes seconds to start."""
    stream_id = _begin(rig, uuid.uuid4().hex, "20 50")
    for worker in ("first", "second"):
        with rig.client(worker) as client:
            client.get(f"{STREAM}/resume?id={stream_id}")


def follow_object(rig: Rig, worker: str, count: int, *, tokens: int, rate: float) -> Figures:
    """Let ``count`` readers follow a reply through a Worker; return how old tokens were when they arrived."""
    session_id = uuid.uuid4().hex
    stream_id = _begin(rig, session_id, f"{tokens} {rate}")
    readers = Readers(rig.urls[worker], f"{STREAM}/resume?id={stream_id}", count)
    readers.start()
    ages = readers.join()
    counted = rig.ask("first", f"/look/c-{session_id}")
    return {
        **delay_figures(ages),
        "p95_ms": round(percentile(ages, 95), 3),
        "whole": readers.whole,
        "statements": counted["statements"],
        "rows_written": counted["rows_written"],
    }


def stop_object(rig: Rig, number: int) -> float:
    """Stop a reply through the other Worker; return the milliseconds until the model was closed."""
    session_id = f"stop-{number}-{uuid.uuid4().hex}"
    stream_id = _begin(rig, session_id, "10000 50")
    time.sleep(0.3)
    with rig.client("second") as client:
        client.get(f"{STREAM}/resume?id=unknown")  # connects nothing, but has its code loaded
        began = time.time() * 1000
        client.post(f"{STREAM}/stop", json={"id": stream_id})
    closed_at: float = rig.ask("first", f"/look/c-{session_id}")["closed_at"]
    return closed_at - began
