"""Objects that end in mid-reply: each reader has the whole reply, or an exact prefix and ``producer lost``.

``python -m tests.object_kills`` ends 50 objects at random moments, by ``ctx.abort()`` and by killing workerd, with a
model that does not go on, and asks for the eviction of others in between; the suite runs a few rounds. With
``--continued`` the model goes on: by background responses of a loopback endpoint, which counts what it generates.
``--rounds`` and ``--seed`` change the rest.

workerd evicts no object in mid-reply: it waits for open responses and for ``waitUntil``, which has the producer, and
refuses after 30 s ("it still has active references"); the reply goes on. Then it drops the object at once, and with it
all that SQLite has not committed. An object whose eviction is asked for in mid-reply, while nobody is connected, must
therefore have the whole reply afterwards, with either model.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import httpx2

from aibind.streams import SseParser
from testbed.workerd.rig import Rig
from tests.support.background_endpoint import BackgroundEndpoint, served_in_thread, text_for

from .workerd.workers import open_rig

WORDS = 400
RATE = 40
TOKENS = 120
MAX_S = 60
"""Seconds within which each reader must have come to an end."""


@dataclass(frozen=True, slots=True)
class Game:
    """What is asked of which objects: a model that says words, or background responses of an endpoint."""

    rig: Rig
    endpoint: BackgroundEndpoint | None = None
    words: int = WORDS

    @property
    def stream(self) -> str:
        return "/__aibind__/stream" if self.endpoint is None else "/continued/stream"

    @property
    def binding(self) -> str:
        return "CHATS" if self.endpoint is None else "CONTINUED"

    @property
    def class_name(self) -> str:
        return "Chat" if self.endpoint is None else "Continued"

    def body(self, session_id: str) -> dict[str, str]:
        if self.endpoint is None:
            return {"prompt": f"{self.words} {RATE}", "sessionId": session_id}
        return {"prompt": session_id, "system": self.endpoint.base_url, "sessionId": session_id}


def endpoint_of_game() -> BackgroundEndpoint:
    """Make the endpoint that models which go on ask."""
    return BackgroundEndpoint(tokens=TOKENS, per_second=RATE)


@dataclass(slots=True)
class Reading:
    """What one reader was sent, over as many connections as it took."""

    text: str = ""
    last_id: str = "0"
    ends: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    connections: int = 0

    def read(self, response: httpx2.Response) -> None:
        """Read until the end, or until the connection is cut."""
        self.connections += 1
        parser = SseParser()
        for data in response.iter_bytes():
            for message in parser.feed(data):
                if not message.event:
                    self.text += message.data
                elif message.event not in ("stream-id", "usage"):
                    self.ends.append((message.event, message.data))
                if message.event != "stream-id" and message.id:
                    self.last_id = message.id

    @property
    def is_over(self) -> bool:
        return bool(self.ends) and self.ends[-1][0] == "done"


def follow(game: Game, stream_id: str, reading: Reading, deadline: float) -> None:
    """Read a stream to its end, as a client does: it resumes whenever it is cut off."""
    while not reading.is_over and time.monotonic() < deadline:
        try:
            with game.rig.client("live", timeout_s=20) as client:
                asked = {"id": stream_id, "after": reading.last_id}
                with client.stream("GET", f"{game.stream}/resume", params=asked) as response:
                    if response.status_code == 200:
                        reading.read(response)
        except (httpx2.HTTPError, OSError):
            pass
        if not reading.is_over:
            time.sleep(0.1)


def play(game: Game, kind: str, dice: random.Random, number: int) -> list[str]:
    """End an object in mid-reply; return what was wrong, or nothing."""
    if kind == "evict":
        return list(evict(game, dice, number))
    rig = game.rig
    session_id = f"kill-{number}-{time.time_ns()}"
    deadline = time.monotonic() + MAX_S
    begun = threading.Event()
    first = Reading()
    found: list[str] = []

    def ask() -> None:
        try:
            with (
                rig.client("live", timeout_s=MAX_S) as client,
                client.stream("POST", game.stream, json=game.body(session_id)) as response,
            ):
                found.append(response.headers["x-stream-id"])
                begun.set()
                first.read(response)
        except (httpx2.HTTPError, OSError):
            pass
        follow(game, found[0], first, deadline)

    readings = [first, Reading(), Reading()]
    threads = [threading.Thread(target=ask)]
    threads[0].start()
    if not begun.wait(MAX_S):
        return [f"{kind}: the reply did not begin"]
    for reading in readings[1:]:
        time.sleep(dice.uniform(0, 0.5))
        threads.append(threading.Thread(target=follow, args=(game, found[0], reading, deadline)))
        threads[-1].start()
    time.sleep(dice.uniform(0, 3))
    if kind == "kill":
        rig.kill()
        rig.start()
    else:
        with rig.client("live") as client:
            client.post(f"/object/{game.binding}/c-{session_id}/crash")
    for thread in threads:
        thread.join(max(0.1, deadline + 20 - time.monotonic()))
    stored = Reading()
    follow(game, found[0], stored, time.monotonic() + MAX_S)
    if game.endpoint is None:
        return list(check_prefix(stored, readings))
    return list(check_whole(game, session_id, [*readings, stored]))


def evict(game: Game, dice: random.Random, number: int) -> Iterator[str]:
    """Ask for the eviction of an object in mid-reply, while nobody is connected; say what was wrong."""
    session_id = f"evict-{number}-{time.time_ns()}"
    look = f"/object/{game.binding}/c-{session_id}/look"
    with game.rig.client("live") as client:
        with client.stream("POST", game.stream, json=game.body(session_id)) as response:
            stream_id = response.headers["x-stream-id"]
        time.sleep(dice.uniform(0, 2))
        before = client.post(look).json()
        if before["active"] != [stream_id]:
            yield f"the object has {before['active']} under way"
        game.rig.evict("live", game.class_name, f"c-{session_id}")
        if client.post(look).json()["made_at"] == before["made_at"]:
            yield "the object was not evicted"
        history = client.get(f"{game.stream.removesuffix('/stream')}/sessions/{session_id}").json()["messages"]
    reading = Reading()
    follow(game, stream_id, reading, time.monotonic() + MAX_S)
    if game.endpoint is not None:
        yield from check_whole(game, session_id, [reading])
        return
    words = [word.partition("@")[0] for word in reading.text.split()]
    if words != [f"word{one}" for one in range(game.words)] or reading.ends != [("done", "")]:
        yield f"of {game.words} words there are {len(words)}, {reading.ends}"
    if [one["message"]["content"] for one in history][1:] != [reading.text]:
        yield f"the conversation has {history}"


def check_whole(game: Game, prompt: str, readings: list[Reading]) -> Iterator[str]:
    """Say what is wrong with what the readers have of a reply that is gone on with."""
    assert game.endpoint is not None
    expected = text_for(prompt, TOKENS)
    for number, reading in enumerate(readings):
        if (reading.text, reading.ends) != (expected, [("done", "")]):
            yield f"reader {number} has {reading.text[:80]!r} … {reading.text[-80:]!r}, {reading.ends}"
    asked = sum(one.prompt == prompt for one in list(game.endpoint.responses.values()))
    if asked != 1:
        yield f"the endpoint was asked {asked} times"
    with game.rig.client("live") as client:
        history = client.get(f"/continued/sessions/{prompt}").json()["messages"]
    if [one["message"]["content"] for one in history] != [prompt, expected]:
        yield f"the conversation has {history}"


def check_prefix(stored: Reading, readings: list[Reading]) -> Iterator[str]:
    """Say what is wrong with what the readers have of a reply that is lost."""
    for number, reading in enumerate([*readings, stored]):
        words = [word.partition("@")[0] for word in reading.text.split()]
        if not reading.is_over:
            yield f"reader {number} hangs after {len(words)} words"
        elif ("error", "producer lost") not in reading.ends:
            yield f"reader {number} ends with {reading.ends}"
        if words[:-1] != [f"word{one}" for one in range(len(words))][:-1]:
            yield f"reader {number} has a wrong text: {reading.text[:200]!r}"
        if not reading.text.startswith(stored.text):
            yield f"reader {number} lacks what is stored: {reading.text[-80:]!r}, {stored.text[-80:]!r}"


def main() -> None:
    """Run the campaign, and print what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.object_kills")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continued", action="store_true", help="ask a model that goes on")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    rig = open_rig("py314")
    rig.start()
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    try:
        with served_in_thread(endpoint_of_game()) if options.continued else nullcontext() as endpoint:
            while (ends := counts["abort"] + counts["kill"]) < options.rounds:
                kind = dice.choice(["abort", "abort", "kill", "evict"])
                wrong += (failures := play(Game(rig, endpoint), kind, dice, counts.total()))
                print(f"{ends} of {options.rounds}, then {kind}: {failures or 'as it should be'}", flush=True)
                counts[kind] += 1
    finally:
        rig.stop()
    print(json.dumps({"rounds": options.rounds, "kinds": counts, "wrong": wrong}))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
