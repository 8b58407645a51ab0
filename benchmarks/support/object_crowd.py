"""Replies in Durable Objects inside workerd: their followers, and stops, through one Worker or another.

The yardstick is an object in JavaScript.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2

from testbed.workerd.install import ROOT, install_node, install_node_modules
from testbed.workerd.rig import Rig, Worker
from testbed.workerd.setting import parse_setting

from .child import ChildFailedError
from .measure import delay_figures, percentile
from .node import FOLDER
from .object_readers import Readers
from .result import Figures, Say

__all__ = ["follow_javascript", "follow_object", "open_javascript", "open_objects", "stop_object", "warm_up"]

FILES = {"entry.py": ROOT / "benchmarks" / "support" / "object_crowd_entry.py"}
STREAM = "/__aibind__/stream"
SETTING = "py314"


@contextmanager
def open_objects(say: Say) -> Iterator[Rig]:
    """Run workerd with the Worker ``first``, which has the objects, and ``second``, which reaches them."""
    say("starting workerd")
    workers = [
        Worker("first", FILES, objects={"CHATS": "Chat"}),
        Worker("second", FILES, objects={"CHATS": "Chat@first"}),
    ]
    rig = Rig(parse_setting(SETTING), workers)
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


def follow_object(rig: Rig, worker: str, count: int, *, tokens: int, rate: float, are_late: bool = False) -> Figures:
    """Let ``count`` readers follow a reply through a Worker; return how old tokens were when they arrived.

    The first token is said when all of them are there, unless they ``are_late``: then they come while it speaks.
    """
    session_id = uuid.uuid4().hex
    stream_id = _begin(rig, session_id, f"{tokens} {rate}{'' if are_late else ' wait'}")
    readers = Readers(rig.urls[worker], f"{STREAM}/resume?id={stream_id}", count)
    readers.start()
    if not are_late:
        readers.wait_until_joined()
        rig.ask("first", f"/go/c-{session_id}")
    figures = _figures_of(readers)
    counted = rig.ask("first", f"/look/c-{session_id}")
    return {**figures, "statements": counted["statements"], "rows_written": counted["rows_written"]}


def _figures_of(readers: Readers) -> Figures:
    """Wait until all have read to the end, and return how old tokens were when they arrived."""
    ages = readers.join()
    return {**delay_figures(ages), "p95_ms": round(percentile(ages, 95), 3), "whole": readers.whole}


@contextmanager
def open_javascript(say: Say) -> Iterator[str]:
    """Run workerd with the object in JavaScript, and yield its address."""
    say("starting workerd for JavaScript")
    setting = parse_setting(SETTING)
    modules = install_node_modules(setting.release.folder)
    with tempfile.TemporaryDirectory() as folder:
        command = [install_node(setting.release.oldest_node), str(FOLDER / "object.mjs"), str(modules), folder]
        process = subprocess.Popen(
            [*command, setting.date], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not (line := process.stdout.readline()):
                raise ChildFailedError("The object in JavaScript did not start, see above")
            yield json.loads(line)["url"]
        finally:
            process.stdin.close()
            process.wait(30)


def follow_javascript(url: str, count: int, *, tokens: int, rate: float) -> Figures:
    """Let ``count`` readers follow a new object in JavaScript; return how old tokens were when they arrived."""
    name = uuid.uuid4().hex
    readers = Readers(url, f"/?object={name}", count)
    readers.start()
    httpx2.get(f"{url}/begin?object={name}&tokens={tokens}&rate={rate}").raise_for_status()
    return _figures_of(readers)


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
