"""Replies and turns under injected faults on D1. All seeds: ``python -m tests.faults workerd``."""

from __future__ import annotations

import pytest

from testbed.workerd.rig import Rig

from .faults import play_faults

RUNS_ON = EVERY = ("py314",)
RUNS = 10


@pytest.mark.parametrize("kind", ["reply", "turns, messages"])
def test_faults_break_no_promise(kind: str, prepared: Rig) -> None:
    answers = list(play_faults(prepared, kind, range(RUNS)))
    assert [answer for answer in answers if "violation" in answer] == []
    assert [answer["seed"] for answer in answers] == list(range(RUNS))
    assert sum(answer["faults"] for answer in answers) > 0
