"""Campaign: stops that race the end of a reply, 2,000 of them: ``python -m tests.stops``.

A quarter each comes from the producer's process and from another one, near the end of the reply and in its middle. The
state of the stream, that of the conversation, both texts and what two readers saw must agree. The command fails unless
they do.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.processes.stops import race_stops


def main() -> None:
    """Run the campaign, and print how the replies ended and what disagreed."""
    parser = argparse.ArgumentParser(prog="python -m tests.stops", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = asyncio.run(race_stops(options.rounds, options.seed))
    for (where, when, end), count in sorted(result.ends.items()):
        print(f"{count:>5,} {where}, {when}: {end}")
    print(f"{result.count:,} stops, {len(result.wrong):,} disagreements (seed {options.seed})")
    for line in result.wrong[:20]:
        print(f"    {line[:400]}", file=sys.stderr)
    sys.exit(1 if result.wrong else 0)


if __name__ == "__main__":
    main()
