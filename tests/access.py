"""Campaign: another's id is answered like one that does not exist. ``python -m tests.access [--rounds N]``.

Every endpoint is asked so many times (1,000) by the owner of what it names, by another user, by nobody, and by that
other user for what does not exist, which is done twice: what the two differ by is noise. The command prints a table. It
fails when an answer to another differs in anything but its date, when nobody is answered, when the owner is not, or
when the median time differs by more than the noise allows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.access import CASES, fill_table

ROUNDS = 1000

MAX_DIFFERENCE = 0.03
"""The difference of two medians that is taken for noise whatever that was measured to be, as a share of them."""


async def run(rounds: int) -> bool:
    """Print the table; return whether all is as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        rows, fine = await fill_table(Path(folder) / "chat.db", rounds)
    if not fine:
        print("something of the owner's was changed by others")
    print("| Endpoint | owner | other | nobody | unknown | same | other, µs | unknown, µs | difference | noise |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row, case in zip(rows, CASES, strict=True):
        statuses = [", ".join(map(str, row.statuses(who))) or "–" for who in ("owner", "other", "nobody", "unknown")]
        fine &= [row.statuses("owner"), row.statuses("other")] == [[status] for status in case.statuses]
        fine &= row.statuses("nobody") == [401]
        ending = ["–", f"{row.median_us('other'):.0f}", "–", "–", "–"]
        if row.names_an_id:
            other, unknown, control = (row.median_us(who) for who in ("other", "unknown", "control"))
            difference, noise = other / unknown - 1, control / unknown - 1
            fine &= row.is_same and abs(difference) <= max(2 * abs(noise), MAX_DIFFERENCE)
            ending = ["yes" if row.is_same else "NO", f"{other:.0f}", f"{unknown:.0f}"]
            ending += [f"{difference:+.1%}", f"{noise:+.1%}"]
        print(f"| {' | '.join([row.name, *statuses, *ending])} |")
    print("as it must be" if fine else "NOT as it must be")
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask every endpoint for what is another's")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    sys.exit(not asyncio.run(run(parser.parse_args().rounds)))
