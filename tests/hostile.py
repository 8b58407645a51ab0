"""Campaign: one client takes what it can get: ``python -m tests.hostile [--followers N] [--streams N]``.

A server runs in a process of its own. One client follows silent replies with 10,000 connections and keeps 3,000 replies
talking, and another one measures how long it waits for its first token: before, while they come, and when they are
there. This is done with the default limits, which refuse most of it, and without any. Then 60 bodies of 10 MB are sent
that lack their last byte, and the server's memory is measured.

The command fails when the first token takes more than 100 ms (99 % of all, when they are there), or when the slow
bodies cost more than 20 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.support.hostile import allow_files, crowd, slow_bodies

MOST_MS = 100
MOST_MB = 20


async def run(followers: int, streams: int, bodies: int) -> bool:
    """Print what was measured; return whether all is as it must be."""
    fine = True
    print(f"{allow_files():,} open files are allowed")
    for unlimited in (False, True):
        seen = await crowd(followers, streams, unlimited=unlimited)
        print(f"{'without limits' if unlimited else 'default limits'}: {dict(seen.answers)}, {seen.memory_mb:.0f} MB")
        for name, waits in (("alone", seen.alone), ("while they come", seen.coming), ("when there", seen.there)):
            print(f"  first token of another client, {name}: {waits}", flush=True)
        ranked = sorted(seen.there.all_ms)
        fine &= ranked[len(ranked) * 99 // 100 - 1] < MOST_MS
    grown_mb, answers = await slow_bodies(bodies, 10_000_000)
    print(f"{bodies} slow bodies of 10 MB: {grown_mb:.1f} MB, answers {dict(answers)} (0: waits)")
    fine &= grown_mb < MOST_MB
    print("as it must be" if fine else "NOT as it must be")
    return fine


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=3_000)
    parser.add_argument("--bodies", type=int, default=60)
    options = parser.parse_args()
    sys.exit(not asyncio.run(run(options.followers, options.streams, options.bodies)))


if __name__ == "__main__":
    main()
