"""Campaign: repeat requests whose answers are lost, at the same and at another server: ``python -m tests.retries``.

Each of 2,000 requests loses one to three answers, when it is sent, when its answer begins or in between, and is
repeated with its id at one of two servers on one file. The command fails unless each has one question, one answer and
one call of the model.

Then a server is killed as 20 requests begin, 25 times, and they are repeated at the other: each has one question, and
at most one call.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.processes.retries import retry_after_kills, retry_requests


def main() -> None:
    """Run the campaign, and print what was repeated."""
    parser = argparse.ArgumentParser(prog="python -m tests.retries", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(retry_requests(options.requests, Path(folder), options.seed))
        killed = asyncio.run(retry_after_kills(options.kills, Path(folder), options.seed))
    print(
        f"{result.requests:,} requests in {result.attempts:,} attempts, of which {result.lost_here:,} were lost at the"
        f" same server and {result.lost_elsewhere:,} at the other: one question, one answer, one call each"
    )
    print(
        f"{options.kills} kills as {killed.requests:,} requests began: one question each; {killed.answered:,} were"
        f" answered in full, and {killed.lost:,} as far as the killed server had stored"
    )


if __name__ == "__main__":
    main()
