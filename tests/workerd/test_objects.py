"""Durable Objects in the rig: SQL of their own, and requests that share what they wait for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from testbed.workerd.rig import Rig

RUNS_ON = EVERY = ("py314", "py313")


def test_requests_of_one_object_wake_each_other(prepared: Rig) -> None:
    assert prepared.ask("checks", "/object/look") == []
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(prepared.ask, "checks", "/object/wait")
        assert prepared.ask("checks", "/object/tell") == ["told"]
        assert waiting.result() == ["told"]
