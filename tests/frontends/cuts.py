"""Campaign: chat pages whose connections break at random bytes: ``python -m tests.frontends.cuts``.

Each version of the AI SDK asks for 100 replies over connections that break after a random number of bytes, in the
headers as well. The page reconnects as the client does, and each message must be whole in the end and equal to the
stored one.
"""

from __future__ import annotations

import argparse
import asyncio

from tests.frontends.chat_server import serving
from tests.frontends.cutting import read_over_cuts
from tests.frontends.driver import VERSIONS, running_driver


async def run(count: int, seed: int) -> None:
    """Run the campaign, and print what it found."""
    async with running_driver() as driver, serving() as server:
        for version in VERSIONS:
            found = await read_over_cuts(driver, server, version, count, seed)
            print(
                f"ai {version}: {found.replies} replies exact over {found.breaks} broken connections; resumed"
                f" {found.resumed} times, asked again {found.asked_again} times"
            )


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.frontends.cuts", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(run(options.count, options.seed))


if __name__ == "__main__":
    main()
