"""Campaign: another's id is answered like one that does not exist. ``python -m tests.access [--rounds N]``.

Every endpoint is asked so many times (1,000) by the owner of what it names, by another user, by nobody, and by that
other user for what does not exist, which is done twice: what the two differ by is noise. The command prints a table. It
fails when an answer to another differs in anything but its date, when nobody is answered, when the owner is not, or
when the median times differ by more than four standard errors, as resampling estimates them.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.access import CASES, Row, Who, fill_table

ROUNDS = 1000
RESAMPLES = 200
MAX_ERRORS = 4

HEADINGS = (
    "Endpoint",
    "owner",
    "other",
    "nobody",
    "unknown",
    "same",
    "other, µs",
    "unknown, µs",
    "difference",
    "noise",
)


async def run(rounds: int) -> bool:
    """Print the table; return whether all is as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        rows, fine = await fill_table(Path(folder) / "chat.db", rounds)
    if not fine:
        print("something of the owner's was changed by others")
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    for row, case in zip(rows, CASES, strict=True):
        statuses = [", ".join(map(str, row.statuses(who))) or "–" for who in ("owner", "other", "nobody", "unknown")]
        fine &= [row.statuses("owner"), row.statuses("other")] == [[status] for status in case.statuses]
        fine &= row.statuses("nobody") == [401]
        ending = ["–", f"{row.median_us('other'):.0f}", "–", "–", "–"]
        if row.names_an_id:
            difference, error = compare(row, "other")
            noise, _ = compare(row, "control")
            fine &= row.is_same and abs(difference) <= MAX_ERRORS * error
            ending = [
                "yes" if row.is_same else "NO",
                f"{row.median_us('other'):.0f}",
                f"{row.median_us('unknown'):.0f}",
            ]
            ending += [f"{difference:+.0f} ± {error:.0f}", f"{noise:+.0f}"]
        print(f"| {' | '.join([row.name, *statuses, *ending])} |", flush=True)
    print("as it must be" if fine else "NOT as it must be")
    return fine


def compare(row: Row, who: Who) -> tuple[float, float]:
    """Return how much longer somebody waited than for what is unknown, and the standard error of that, in µs."""
    difference = row.median_us(who) - row.median_us("unknown")
    return difference, math.hypot(error_of(row.seconds[who]), error_of(row.seconds["unknown"])) * 1e6


def error_of(seconds: Sequence[float]) -> float:
    """Return the standard error of a median."""
    return statistics.stdev(statistics.median(random.choices(seconds, k=len(seconds))) for _ in range(RESAMPLES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask every endpoint for what is another's")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    sys.exit(not asyncio.run(run(parser.parse_args().rounds)))
