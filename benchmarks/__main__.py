"""``python -m benchmarks NAME [options] [--json]`` runs one benchmark, ``python -m benchmarks report`` all of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from testbed.node import CannotInstallError

from .catalogue import NAMES, load
from .support.printing import Progress, print_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure aibind beside its yardsticks, in the same run."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="NAME")
    try:
        for name in NAMES:
            benchmark = load(name)
            command = commands.add_parser(name, help=benchmark.what, description=benchmark.what)
            benchmark.add_options(command)
            command.add_argument("--json", action="store_true", help="print one JSON object as the last line")
        report = commands.add_parser("report", help="run all, and write docs/benchmarks.md and the README's table")
        report.add_argument(
            "--only", nargs="+", choices=NAMES, metavar="NAME", help="take the others from the last report"
        )
        report.add_argument("--quick", action="store_true", help="tiny sizes, to try the report itself")
        options = parser.parse_args(arguments)
        if options.command == "report":
            from .report import write_report

            write_report(options.only or NAMES, quick=options.quick)
            return 0
        progress = Progress(options.command)
        result = load(options.command).run(options, progress.say)
        progress.done()
    except CannotInstallError as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in {"aiosqlite", "matplotlib", "psutil", "httpx2", "uvicorn"}:
            print(
                f"{error.name} is not installed: run this with `uv run --group bench python -m benchmarks …`",
                file=sys.stderr,
            )
            return 1
        raise
    if options.json:
        print(json.dumps(result.to_json()))
    else:
        print_table(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
