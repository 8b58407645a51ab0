"""Replies and turns under injected faults on SQLite files. All seeds: ``python -m tests.faults file``."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.support.fault_files import LEASE_S, play_reply, play_turns
from tests.support.fault_runs import Plan

RUNS = 40

SEEDS = (43, 71, 158, 375, 390, 462, 504, 569, 573, 577, 654, 891)
"""Seeds beyond those that broke a promise once: a round in the conversation that its stream did not take, or an answer
there twice, an answer that an outage of longer than a lease kept from its conversation, and a reader that was not told
what a stop has lost."""


@pytest.mark.parametrize("seed", [*range(RUNS), *SEEDS])
def test_a_reply_under_faults_breaks_no_promise(seed: int) -> None:
    outcome = play_reply(seed)
    assert outcome.end is None or outcome.exact + outcome.cut_short == len(Plan.draw(seed, LEASE_S).readers) + 1


def test_a_seed_repeats_its_run() -> None:
    plans = [Plan.draw(seed, LEASE_S) for seed in range(10)]
    assert plans == [Plan.draw(seed, LEASE_S) for seed in range(10)]
    assert len({plan.text for plan in plans}) == 10
    assert play_reply(3) == play_reply(3)


@pytest.mark.parametrize("store", ["messages", "conversations"])
@pytest.mark.parametrize("seed", range(10))
def test_turns_under_faults_are_kept_once(seed: int, store: Literal["messages", "conversations"]) -> None:
    assert play_turns(seed, store) > 0
