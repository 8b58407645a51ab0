"""What a stream costs, counted on the binding: statements and rows. (Times: ``python -m tests.workerd.measure``.)"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from testbed.workerd.rig import Rig

from .client import Reader
from .streams import status_of, words

RUNS_ON = EVERY = ("py314",)


@pytest.mark.parametrize("delay_ms", [0, 50])
def test_a_reply_of_a_thousand_tokens(prepared: Rig, delay_ms: int) -> None:
    prepared.meter("checks", delay_ms)
    stream_id = f"cost-{delay_ms}-{prepared.python.name}"
    answer = prepared.ask("checks", "/cost", {"id": stream_id, "tokens": 1000, "rate": 100})
    counted = prepared.meter("checks", 0)
    assert answer["state"] == "done"
    assert status_of(prepared, stream_id)["text"] == words(1000)
    late = 4 * max(0, answer["stream_s"] - 10.5)  # a machine that stands still makes a reply longer
    assert counted["statements"] <= 45 + late, counted["sql"]
    assert counted["rowsWritten"] <= 50 + late, counted["sql"]


def test_a_thousand_small_events(prepared: Rig) -> None:
    """Pieces of a tool's arguments at 100 a second: packed into the rows that text would take."""
    prepared.meter("checks", 0)
    asked = {"id": f"events-{prepared.python.name}", "tokens": 1000, "rate": 100, "events": True}
    answer = prepared.ask("checks", "/cost", asked)
    counted = prepared.meter("checks", 0)
    assert (answer["state"], answer["whole"], answer["events"]) == ("done", True, 1000)
    late = 4 * max(0, answer["stream_s"] - 10.5)
    assert counted["rowsWritten"] <= 50 + late, counted["sql"]
    assert counted["statements"] <= 50 + late, counted["sql"]


def test_a_follower_in_another_isolate_polls_seldom(prepared: Rig) -> None:
    stream_id = f"followed-{prepared.python.name}"
    prepared.ask("second", "/sql", {"sql": "SELECT 1"})  # starts its Python
    prepared.meter("second", 0)
    asked: dict[str, Any] = {"id": stream_id, "tokens": 400, "rate": 50, "keep_alive": True, "through": "entry"}
    with ThreadPoolExecutor() as threads:
        with Reader(prepared.urls["checks"], "/produce", asked) as reader:
            reader.read_until("word0")
            following = threads.submit(prepared.ask, "second", "/follow", {"id": stream_id})
            began = time.monotonic()
            reader.read_until("event: done")
        followed = following.result()
        took_s = time.monotonic() - began
    assert followed["text"] == words(400)
    assert prepared.meter("second", 0)["statements"] <= 4 * took_s + 4  # its first look, its last, a status
