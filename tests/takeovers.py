"""Campaign: kill and suspend one of two servers with replies under way: ``python -m tests.takeovers``.

The other goes on with the replies, from background responses of a loopback endpoint.
"""

from __future__ import annotations

import argparse
import asyncio

from tests.processes.takeovers import kill_and_take_over, stop_and_take_over


def main() -> None:
    """Run the campaign, and print what became of the replies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, result in (
        ("kills", asyncio.run(kill_and_take_over(options.kills, options.seed))),
        ("suspensions", asyncio.run(stop_and_take_over(options.stops, options.seed))),
    ):
        print(
            f"{name}: {result.replies} replies, {result.taken_over} takeovers, {result.generated} responses generated, "
            f"{result.readers} readers, {len(result.wrong)} wrong",
            *result.wrong,
            sep="\n",
        )


if __name__ == "__main__":
    main()
