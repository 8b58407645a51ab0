"""How long a Durable Object lives: as long as its reply, and no longer. In full: ``python -m tests.lives``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed.workerd.rig import Rig

from .object_lives import IDLE_S, chat_alone, evictions, live_alone
from .test_objects import EVERY, RUNS_ON

__all__ = ["EVERY", "RUNS_ON"]

ALONE_S = IDLE_S + 2
"""Seconds after which an object that had nothing to do would have been evicted, on a machine that is busy as well."""


def test_a_reply_leaves_no_timer_pending(prepared: Rig) -> None:
    assert evictions(prepared, "short", replies=10, within_s=0).pending == 0


def test_an_object_lives_as_long_as_its_reply(prepared: Rig) -> None:
    """A timer that is left behind keeps one awake for longer, which shows that eviction is observed."""
    evictions(prepared, "first", replies=1, within_s=0)  # imports everything
    with ThreadPoolExecutor() as threads:
        lives = [
            threads.submit(live_alone, prepared, f"alone-{kept}", reply_s=ALONE_S + 1, alone_s=ALONE_S, keep_alive=kept)
            for kept in (True, False)
        ]
        lives.append(threads.submit(chat_alone, prepared, "alone", reply_s=ALONE_S + 1, alone_s=ALONE_S))
        clear = threads.submit(evictions, prepared, "clear", replies=5, within_s=ALONE_S)
        awake = threads.submit(evictions, prepared, "awake", replies=2, within_s=ALONE_S, leftover_s=3 * ALONE_S)
    for life in (living.result() for living in lives):
        assert (life.state, life.whole, life.constructions) == ("done", True, 1)
        assert life.alone_s > IDLE_S
    assert clear.result().evicted == 5
    assert awake.result().evicted == 0
