"""Campaign: kill processes around an approval, a hundred times: ``python -m tests.approvals``."""

from __future__ import annotations

import argparse
import asyncio

from tests.processes.approvals import approval_rounds


def main() -> None:
    """Run the campaign, and print what became of the calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = asyncio.run(approval_rounds(options.rounds, options.seed))
    print(
        f"{result.rounds} calls, {result.kills} kills: {result.unknown} outcomes reported as unknown, "
        f"{result.retries} told to run again; begun, less the times told so: {dict(sorted(result.began.items()))}"
    )
    for wrong in result.wrong:
        print(wrong)
    if result.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
