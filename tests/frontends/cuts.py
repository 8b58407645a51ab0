"""Campaign: chat pages whose connections break at random bytes: ``python -m tests.frontends.cuts [OPTION]…``.

Each version of the AI SDK asks for 100 replies over connections that break after a random number of bytes, in the
headers as well. With its own transport the page reconnects as the client does, and each message must be whole in the
end and equal to the stored one. With ours (``--transport ours``; by default both are run) the page sees no error
besides, its chunks are those of a connection that does not break, and no character is sent twice.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

from tests.frontends.chat_server import serving
from tests.frontends.cutting import read_over_cuts, read_with_transport
from tests.frontends.driver import VERSIONS, running_driver

READERS = {"theirs": read_over_cuts, "ours": read_with_transport}


async def run(count: int, seed: int, transports: list[str]) -> None:
    """Run the campaign, and print what it found."""
    async with running_driver() as driver, serving() as server:
        for transport in transports:
            for version in VERSIONS:
                found = await READERS[transport](driver, server, version, count, seed)
                print(
                    f"ai {version}, {transport} transport: {found.replies} replies exact over {found.breaks} broken"
                    f" connections; resumed {found.resumed} times, asked again {found.asked_again} times",
                    flush=True,
                )


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.frontends.cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--transport", choices=READERS)
    options = parser.parse_args()
    logging.getLogger("aibind").setLevel(logging.CRITICAL)  # of the tool that fails
    asyncio.run(run(options.count, options.seed, [options.transport] if options.transport else list(READERS)))


if __name__ == "__main__":
    main()
