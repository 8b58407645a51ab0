"""Campaign: kill a server a hundred times, and recover what it had begun to answer: ``python -m tests.recoveries``.

The answers are on another branch, to a question that is asked again, three at once, followed by a turn before the lease
ran out, and recovered after ``cleanup()``. Then it is killed as often while turns call tools. The command fails unless
each answer is in its conversation once, as far as it was flushed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.processes.recoveries import kill_and_recover
from tests.processes.tool_kills import kill_in_rounds


def main() -> None:
    """Run the campaign, and print what was recovered."""
    parser = argparse.ArgumentParser(prog="python -m tests.recoveries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = asyncio.run(kill_and_recover(options.rounds, options.seed))
    for case, count in result.answers.items():
        print(f"{count:>5,} answers, {case}")
    print(f"{options.rounds} kills, {result.words:,} words, {len(result.wrong)} not as flushed (seed {options.seed})")
    called = asyncio.run(kill_in_rounds(options.rounds, options.seed))
    print(
        f"{options.rounds} kills during {called.turns} turns that call tools, {called.results:,} results,"
        f" {called.words:,} words, {len(called.wrong)} not as flushed"
    )
    wrong = result.wrong + called.wrong
    for line in wrong[:20]:
        print(f"    {line[:300]}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
