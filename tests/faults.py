"""Campaign: replies and turns under injected faults. ``python -m tests.faults [file] [workerd] [--seed N] [--runs N]``.

``file``: 1,000 seeded runs on SQLite files, in virtual time: a reply with followers in three processes, lost and late
calls, outages longer than a lease, a stop, recovery and cleanup. Each follower must end with the exact text, or with an
exact prefix and an error; the stream and the conversation must agree; nothing may be stored twice; what was
acknowledged must be there. Then 1,000 runs of writers that save turns of one conversation, for each store.
``workerd``: 200 runs of each inside workerd on D1, in real time. Without a name, both.

A failing seed is printed, and the command fails. ``--seed`` begins with another seed than 0, and ``--seed N --runs 1``
repeats one; add it to ``SEEDS`` in tests/testing/test_fault_runs.py.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.fault_files import play_reply, play_turns
from tests.support.fault_runs import Outcome, Violation

FILE_RUNS = 1000
WORKERD_RUNS = 200


def play_on_files(seeds: Sequence[int]) -> bool:
    """Run the seeds on files; return whether no promise was broken."""
    return (
        play("file", "reply", seeds, play_reply)
        & play("file", "turns, messages", seeds, lambda seed: play_turns(seed, "messages"))
        & play("file", "turns, conversations", seeds, lambda seed: play_turns(seed, "conversations"))
    )


def play_in_workerd(seeds: Sequence[int]) -> bool:
    """Run the seeds in workerd; return whether no promise was broken."""
    from tests.workerd.faults import play_faults
    from tests.workerd.workers import open_rig

    rig = open_rig("py314")
    rig.start()
    rig.ask("checks", "/empty")  # makes the tables
    try:
        fine = True
        for kind in ("reply", "turns, messages"):
            began = time.monotonic()
            tally = Tally()
            for answer in play_faults(rig, kind, seeds):
                tally.add(**answer)
            fine &= tally.report("workerd", kind, len(seeds), began)
        return fine
    finally:
        rig.stop()


class Tally:
    """The sum of many runs."""

    def __init__(self) -> None:
        self.failed: list[int] = []
        self.ends: Counter[str] = Counter()
        self.faults = self.exact = self.cut_short = 0

    def add(
        self,
        seed: int,
        *,
        violation: str | None = None,
        end: str | None = None,
        exact: int = 0,
        cut_short: int = 0,
        faults: int = 0,
    ) -> None:
        """Count a run, and print its seed if it failed."""
        if violation is not None:
            self.failed.append(seed)
            print(f"    seed {seed}: {violation}", file=sys.stderr, flush=True)
        if end is not None:
            self.ends[end] += 1
        self.exact += exact
        self.cut_short += cut_short
        self.faults += faults

    def report(self, engine: str, kind: str, runs: int, began: float) -> bool:
        """Print one line of JSON; return whether no run failed."""
        figures: dict[str, Any] = {"runs": runs, "failed": self.failed, "faults": self.faults}
        if self.ends:
            figures |= {"ends": dict(self.ends), "exact followers": self.exact, "told of an error": self.cut_short}
        print(
            json.dumps({"engine": engine, "kind": kind, **figures, "s": round(time.monotonic() - began, 1)}), flush=True
        )
        return not self.failed


def play(engine: str, kind: str, seeds: Sequence[int], run: Callable[[int], Outcome | int]) -> bool:
    """Run the seeds one after the other, and report."""
    began = time.monotonic()
    tally = Tally()
    for seed in seeds:
        try:
            outcome = run(seed)
        except Violation as violation:
            tally.add(seed, violation=str(violation))
        else:
            tally.add(seed, **(outcome.summary() if isinstance(outcome, Outcome) else {"faults": outcome}))
    return tally.report(engine, kind, len(seeds), began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("engines", nargs="*", choices=["file", "workerd", []], default=[])
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, help="runs of each kind, instead of 1,000 and 200")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # every fault would be told
    engines = options.engines or ["file", "workerd"]
    fine = True
    if "file" in engines:
        fine &= play_on_files(range(options.seed, options.seed + (options.runs or FILE_RUNS)))
    if "workerd" in engines:
        fine &= play_in_workerd(range(options.seed, options.seed + (options.runs or WORKERD_RUNS)))
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
