"""Campaign: deploy while a hundred replies are under way, in both ways: ``python -m tests.deploys``.

Two uvicorn workers on one SQLite file run behind a supervisor. They are replaced one after the other, and all at
once as ``systemctl restart`` does. The command fails unless each reader has the exact reply, and each conversation too.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.processes.deploys import WAYS, deploy


def main() -> None:
    """Run the campaign, and print what readers saw."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploys", description=__doc__)
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    for way in WAYS:
        result = asyncio.run(deploy(way, options.replies, options.seed))
        print(
            f"{way}: {result.replies} replies, {result.resumed} of them resumed, {result.refused} requests refused with"
            f" 503, {len(result.old)} workers replaced, {len(result.wrong)} replies not exact"
        )
        for line in result.wrong[:20]:
            print(f"    {line[:300]}", file=sys.stderr)
        failed = failed or bool(result.wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
