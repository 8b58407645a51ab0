"""Campaign: connections that break early, and readers that leave: ``python -m tests.cut_links``.

Replies of 64 Ki characters of reasoning and as many of text, in each of several kinds of characters, are read over
connections that break after 1,000, 2,000 and 3,000 bytes of the body: each connection must bring some, and the texts
must be exact. Then 10,000 readers resume a silent stream and leave, from the process of its producer and from the file
alone: no future, and nothing else, may remain of them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.links.cuts import LIMITS, PIECES, read_over_cut_links
from tests.links.leaving import leave_silent_stream


async def run(chars: int, readers: int, seed: int) -> bool:
    """Run the campaign, print what it found, and return whether anything was wrong."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for limit in LIMITS:
            connections = stuck = 0
            for kind in PIECES:
                for live, length in ((False, chars), (True, chars // 16)):
                    file = Path(folder) / f"{kind} {limit} {live}.db"
                    read = await read_over_cut_links(kind, length, limit, file, seed, live=live)
                    connections += read.connections
                    stuck += read.stuck
            failed |= stuck > 0
            print(f"broken after {limit:,} bytes: {connections:,} connections, {stuck} without a message, exact texts")
        for elsewhere in (False, True):
            file = Path(folder) / f"silent {elsewhere}.db"
            remains = await leave_silent_stream(readers, file, elsewhere=elsewhere, collecting=True)
            failed |= remains.futures > 5 or remains.objects > readers / 10
            print(
                f"{readers:,} readers left ({'from the file' if elsewhere else 'from the producer'}):"
                f" {remains.futures} futures and {remains.objects} objects remain, and the resident memory rose by"
                f" {remains.resident_mb:.1f} MB"
            )
    return failed


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.cut_links", description=__doc__)
    parser.add_argument("--chars", type=int, default=64 * 1024)
    parser.add_argument("--readers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(asyncio.run(run(options.chars, options.readers, options.seed)))


if __name__ == "__main__":
    main()
