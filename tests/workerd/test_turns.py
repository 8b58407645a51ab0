"""No turn is lost that two isolates save at the same time. All rounds: ``python -m tests.turns workerd``."""

from __future__ import annotations

import pytest

from testbed.workerd.rig import Rig

from .turns import TURNS, play

RUNS_ON = EVERY = ("py314",)
ROUNDS = 2


# Not with the default: on a busy machine a quarter of a second may pass between a read and its write.
@pytest.mark.parametrize("store", ["messages on D1", "conversations on D1", "KV, verify_s=1"])
def test_twenty_turns_at_once_are_all_kept(prepared: Rig, store: str) -> None:
    losses = play(prepared, store, ROUNDS)
    assert (losses.turns, losses.lost, losses.refused) == (TURNS * ROUNDS, 0, 0), losses


@pytest.mark.parametrize("store", ["blind on D1", "blind in KV"])
def test_turns_at_once_meet(prepared: Rig, store: str) -> None:
    assert play(prepared, store, 1).lost > 0
