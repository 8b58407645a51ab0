"""Benchmarks and their results."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .neighbours import Neighbours

__all__ = ["Benchmark", "Figures", "Result", "Say"]

Figures: TypeAlias = dict[str, Any]
"""Measured values by name: a number, or figures again. Names end in their unit (``_ms``, ``_mb``) where they have one;
``seconds`` are seconds, ``range`` holds the smallest and largest of several rounds where the value is their median."""

Say: TypeAlias = Callable[[str], None]
"""A function that reports progress to the user."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one benchmark, with the options that it ran with.

    ``others_busy_percent`` is how much of the machine's processor time went to processes that were not part of it.
    """

    benchmark: str
    options: Mapping[str, Any]
    ours: Figures
    yardsticks: Mapping[str, Figures]
    notes: Sequence[str] = ()
    others_busy_percent: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "benchmark": self.benchmark,
            "options": dict(self.options),
            "ours": self.ours,
            "yardsticks": dict(self.yardsticks),
            "notes": list(self.notes),
            "others_busy_percent": self.others_busy_percent,
        }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: what it shows, its options, and how to run it.

    ``sweep`` are the options, by their names on the command line, of each run that the report is made of; ``quick``
    are options small enough for a test.
    """

    name: str
    what: str
    add_options: Callable[[argparse.ArgumentParser], None]
    measure: Callable[[argparse.Namespace, Say], Result]
    sweep: Sequence[Sequence[str]] = ((),)
    quick: Sequence[str] = field(default=())

    def run(self, options: argparse.Namespace, say: Say) -> Result:
        """Run it, and note how busy the machine was with other things."""
        neighbours = Neighbours()
        result = self.measure(options, say)
        return replace(result, others_busy_percent=neighbours.busy_percent())

    def parse(self, arguments: Sequence[str] = ()) -> argparse.Namespace:
        """Make the options from a command line."""
        parser = argparse.ArgumentParser(prog=self.name)
        self.add_options(parser)
        return parser.parse_args(arguments)
