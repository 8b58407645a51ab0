"""Replies in Durable Objects that nobody reads, and how soon their objects are evicted."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from testbed.workerd.rig import Rig

from .client import Reader, read_sse, stream_id_of, text_of
from .streams import words

__all__ = ["IDLE_S", "Evictions", "Life", "chat_alone", "evictions", "live_alone"]

STREAM = "/__aibind__/stream"

RATE = 20
"""Tokens a second of the replies."""

IDLE_S = 10
"""Seconds without an event or a pending timer after which workerd evicts an object."""


@dataclass(frozen=True, slots=True)
class Life:
    """A reply whose client left at once."""

    alone_s: float
    """Seconds for which nothing was connected to the object."""
    state: str
    whole: bool
    """Whether it was read in full afterwards."""
    constructions: int
    """How often its object was constructed until it was read."""


def live_alone(rig: Rig, name: str, *, reply_s: float, alone_s: float, keep_alive: bool, alarms: bool = False) -> Life:
    """Begin a reply in a new object, leave at once, come back after ``alone_s`` seconds, and read all of it."""
    tokens = round(reply_s * RATE)
    _begin(rig, name, tokens, keep_alive=keep_alive, alarms=alarms)
    left_at = time.monotonic()
    time.sleep(alone_s)
    alone_s = time.monotonic() - left_at
    with rig.client("checks") as client:
        messages = read_sse(client.post(f"/reply/{name}/resume", json={}))
    life = _life(rig, name)
    return Life(alone_s, life["state"], text_of(messages) == words(tokens), life["constructions"])


def chat_alone(rig: Rig, name: str, *, reply_s: float, alone_s: float) -> Life:
    """Do the same with the reply of a DurableStreamObject."""
    tokens = round(reply_s * RATE)
    with Reader(rig.urls["live"], STREAM, {"prompt": f"{tokens} {RATE}", "sessionId": name}) as reader:
        stream_id = stream_id_of(reader.read_until("word0"))
    left_at = time.monotonic()
    with rig.client("live") as client:
        made_at = client.post(f"/object/CHATS/c-{name}/look").json()["made_at"]
        time.sleep(alone_s)
        alone_s = time.monotonic() - left_at
        messages = read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id, "after": "0"}))
        seen = client.post(f"/object/CHATS/c-{name}/look").json()
    said = [word.partition("@")[0] for word in text_of(messages).split()]
    events = [message.event for message in messages if message.event]
    return Life(
        alone_s,
        "done" if events == ["done"] else ", ".join(events),
        said == words(tokens).split(),
        1 + (seen["made_at"] != made_at),
    )


@dataclass(frozen=True, slots=True)
class Evictions:
    """What became of objects whose replies had ended."""

    evicted: int
    """How many had been evicted when they were asked something again."""
    pending: int
    """Timers of all of them that were pending in JavaScript when the last reply had ended."""


def evictions(rig: Rig, name: str, *, replies: int, within_s: float, leftover_s: float = 0) -> Evictions:
    """Read short replies to their ends, each in a separate object, and leave the objects alone for ``within_s``.

    ``leftover_s`` is the delay of a timer that each reply leaves behind.
    """
    names = [f"{name}-{number}" for number in range(replies)]
    _life(rig, "timers")  # starts Python
    with ThreadPoolExecutor(replies) as threads:
        list(threads.map(partial(_read_a_reply, rig, leftover_s), names))
        pending = _life(rig, "timers")["pending"]
        time.sleep(within_s)
        lives = list(threads.map(partial(_life, rig), names))
    assert {life["state"] for life in lives} == {"done"}
    return Evictions(sum(life["constructions"] > 1 for life in lives), pending)


def _begin(rig: Rig, name: str, tokens: int, *, keep_alive: bool, alarms: bool) -> None:
    asked = {"tokens": tokens, "rate": RATE, "keep_alive": keep_alive, "alarms": alarms, "leftover_s": 0}
    with Reader(rig.urls["checks"], f"/reply/{name}/begin", asked) as reader:
        reader.read_until("word0")


def _read_a_reply(rig: Rig, leftover_s: float, name: str) -> None:
    asked = {"tokens": 5, "rate": RATE, "keep_alive": True, "alarms": False, "leftover_s": leftover_s}
    with rig.client("checks") as client:
        assert text_of(read_sse(client.post(f"/reply/{name}/begin", json=asked))) == words(5)


def _life(rig: Rig, name: str) -> dict[str, Any]:
    life: dict[str, Any] = rig.ask("checks", f"/reply/{name}/life", {})
    return life
