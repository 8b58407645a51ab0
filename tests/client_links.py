"""Campaign: the Python client over bad links, and what it leaves behind: ``python -m tests.client_links``.

1,000 replies in several kinds of characters, with reasoning and a call of a tool, some of them while they are told, are
read through a proxy that cuts each connection after 200 bytes of the body: each text must be exact, and no event may
come twice. A tenth of them are read with the synchronous client. Then 10,000 connections are made that are read to
their end, left in the middle, cut, or refused, and a tenth of that with the synchronous client: no file descriptor and
no task may remain of them, and hardly an object.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.links.clients import (
    Held,
    leave_many,
    read_through_cuts,
    read_through_cuts_without_a_loop,
    replies_to_read,
)


def is_leak(held: Held, connections: int) -> bool:
    """Return whether more remains than caches explain, whatever the number of connections."""
    return held.files > 3 or held.tasks > 0 or held.objects > 1_000 + connections / 20 or held.kilobytes > 1_000


async def run(replies: int, chars: int, limit: int, connections: int, seed: int) -> bool:
    """Run the campaign, print what it found, and return whether anything was wrong."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, read, share in (
            ("AsyncClient", read_through_cuts, 1),
            ("Client", read_through_cuts_without_a_loop, 10),
        ):
            told = replies_to_read(max(1, replies // share), chars, seed)
            used = await read(told, limit, Path(folder) / f"{name}.db")
            print(f"{name}: {len(told):,} replies over {used:,} connections of {limit} bytes: exact, and nothing twice")
        for name, with_a_loop, share in (("AsyncClient", True, 1), ("Client", False, 10)):
            visits = max(1, connections // share)
            held = await leave_many(visits, Path(folder) / f"left {name}.db", with_a_loop=with_a_loop)
            failed |= is_leak(held, visits)
            print(
                f"{name}: of {visits:,} connections {held.files} file descriptors, {held.tasks} tasks, {held.objects}"
                f" objects and {held.kilobytes:.0f} KB of Python's memory remain"
            )
    return failed


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.client_links", description=__doc__)
    parser.add_argument("--replies", type=int, default=1_000)
    parser.add_argument("--chars", type=int, default=800)
    parser.add_argument("--limit", type=int, default=200, help="bytes of the body after which a connection is cut")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(asyncio.run(run(options.replies, options.chars, options.limit, options.connections, options.seed)))


if __name__ == "__main__":
    main()
