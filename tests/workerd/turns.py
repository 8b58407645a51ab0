"""Rounds of turns that two isolates run on one session at the same time, and the turns that are lost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from testbed.workerd.rig import Rig
from tests.processes.turns import Losses

__all__ = ["STORES", "TURNS", "play"]

TURNS = 20

STORES = ("messages on D1", "conversations on D1", "blind on D1", "KV", "KV, verify_s=None", "blind in KV")


def play(rig: Rig, store: str, rounds: int) -> Losses:
    """Run rounds of 20 turns on one new session each: a request for each turn, to one isolate or the other."""
    for worker in ("checks", "second"):
        rig.ask(worker, "/sql", {"sql": "SELECT 1"})  # starts its Python
    losses = Losses()
    for number in range(rounds):
        # New every time: a KV namespace keeps what was there.
        session_id = f"{store} {number} {time.time_ns()}"
        names = [str(turn) for turn in range(TURNS)]
        with ThreadPoolExecutor(TURNS) as threads:
            answers = list(threads.map(partial(_turn, rig, store, session_id), names))
        errors = {name: error for name, error in zip(names, answers, strict=True) if error is not None}
        asked = {"store": store, "session": session_id, "names": names}
        losses.add(names, rig.ask("checks", "/turns/lost", asked), errors)
    return losses


def _turn(rig: Rig, store: str, session_id: str, name: str) -> str | None:
    worker = ("checks", "second")[int(name) % 2]
    answer: str | None = rig.ask(worker, "/turns/take", {"store": store, "session": session_id, "name": name})
    return answer
