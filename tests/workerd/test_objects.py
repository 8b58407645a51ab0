"""Durable Objects in the rig: SQL of their own, and requests that share what they wait for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed.workerd.rig import Rig
from testbed.workerd.setting import EVERY_SETTING

RUNS_ON = ("py314", "py313-2026-04-01")
EVERY = tuple(name for name in EVERY_SETTING if "py312" not in name)
"""With Python 3.12 the SDK cannot call the fetch() of a Durable Object."""


def test_requests_of_one_object_wake_each_other(prepared: Rig) -> None:
    assert prepared.ask("checks", "/object/look") == []
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(prepared.ask, "checks", "/object/wait")
        assert prepared.ask("checks", "/object/tell") == ["told"]
        assert waiting.result() == ["told"]
