"""Campaign: faults of the machine, each for as long as it lasts on a real worst day. ``python -m tests.worst_days``.

A lock of 150 s, SIGSTOP for 40 s, a full disk, a read-only, an unlinked and a replaced file, and 64 file descriptors,
each in a server with a lease and a time-out of 30 s and a live reply. Prints a table: what a reader of the reply saw,
what the file holds afterwards, and what other requests get. Takes five minutes; names of faults run these alone.
"""

from __future__ import annotations

import asyncio
import sys

from tests.processes.worst_days import FAULTS, Days


async def main(names: list[str]) -> int:
    days = Days(lease_s=30, busy_timeout_s=30, lock_s=150, stop_s=40)
    failed = 0
    print("| Fault | A reader | What is kept | Other requests |\n| --- | --- | --- | --- |")
    for name in names or FAULTS:
        try:
            outcome = await FAULTS[name](days)
        except (AssertionError, TimeoutError) as error:
            failed += 1
            print(f"| {name} | FAILED: {error!r} | | |", flush=True)
        else:
            print(f"| {outcome.fault} | {outcome.reader} | {outcome.kept} | {outcome.others} |", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
