"""Campaign: kill a server with twenty live turns, a hundred times: ``python -m tests.kills``."""

from __future__ import annotations

import argparse
import asyncio

from tests.processes.kills import kill_rounds


def main() -> None:
    """Run the campaign, and print what was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = asyncio.run(kill_rounds(options.rounds, options.seed))
    print(
        f"{result.rounds} kills, {result.turns} live turns: every question is there; "
        f"readers saw {result.seen:,} words, {result.kept:,} were kept"
    )


if __name__ == "__main__":
    main()
