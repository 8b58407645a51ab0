"""Seeded runs under faults inside the Worker, on D1 and in real time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from testbed.workerd.rig import Rig

__all__ = ["play_faults"]

AT_ONCE = 10
"""Runs that one request carries out side by side, as sessions of one database."""

ANSWER_S = 600


def play_faults(rig: Rig, kind: str, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Run seeds, ``reply`` or ``turns, messages``, and yield for each what a campaign adds up."""
    for first in range(0, len(seeds), AT_ONCE):
        asked = {"kind": kind, "seeds": list(seeds[first : first + AT_ONCE])}
        yield from rig.ask("checks", "/faults", asked, timeout_s=ANSWER_S)
