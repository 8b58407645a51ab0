"""What importing costs: time and modules.

Each measurement is a fresh interpreter with compiled files in place, in a folder that only the benchmark uses. The time
is that of the import alone; the modules are those that it added to ``sys.modules``; ``third_party`` counts packages
outside the standard library. Contenders take turns, and each figure is the median of all rounds. ``ours`` imports what
a program needs to store streams in SQLite, ``package`` the bare packages, which load their names on first use.
``ours.workerd`` is what a Worker with D1 imports, inside workerd, where start-up time is limited (``--no-workerd``
skips it).

The yardsticks are packages that others use for a part of this: ``aiosqlite`` (the driver alone), ``starlette``,
``httpx2``, and ``asyncio``, which all of them import.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial

from testbed.node import CannotInstallError

from .support.child import run_child
from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say

OURS = {
    "ours": "from aibind.sqlite import SqliteStreamStore, wrap_sqlite3",
    "package": "import aibind, aibind.sqlite, aibind.cloudflare",
    "streams": "from aibind.streams import DurableStream",
    "history": "from aibind.history import ChatHistory",
    "cloudflare": "from aibind.cloudflare import wrap_d1; from aibind.sqlite import SqliteStreamStore",
    "server": "from aibind.server import StreamHandler, create_app",
}
YARDSTICKS = {
    "asyncio": "import asyncio",
    "aiosqlite": "import aiosqlite",
    "starlette": "import starlette.applications",
    "httpx2": "import httpx2",
}

PROGRAM = """
import sys, time
before = set(sys.modules)
began = time.perf_counter()
{statement}
seconds = time.perf_counter() - began
added = set(sys.modules) - before
import json, sysconfig
standard = set(sys.stdlib_module_names)
others = {{name.partition(".")[0] for name in added}} - standard - {{"aibind"}}
print(json.dumps({{"seconds": seconds, "modules": len(added), "third_party": len(others)}}))
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workerd", action=argparse.BooleanOptionalAction, default=True)


def run(options: argparse.Namespace, say: Say) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        contenders = {name: partial(_import, statement, folder) for name, statement in (OURS | YARDSTICKS).items()}
        for contender in contenders.values():
            contender()  # compiles what it needs
        found = interleave(contenders, options.rounds, say)
    ours = found.pop("ours")
    ours |= {name: found.pop(name) for name in OURS if name != "ours"}
    notes = []
    if options.workerd:
        from .support.isolates import import_in_isolate

        try:
            ours["workerd"] = import_in_isolate(say)
        except CannotInstallError as error:
            notes.append(str(error))
    return Result("import", {"rounds": options.rounds}, ours, found, notes)


def _import(statement: str, compiled: str) -> Figures:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    figures: Figures = run_child([sys.executable, "-c", PROGRAM.format(statement=statement)], environment=environment)
    figures["seconds"] = round(figures["seconds"], 6)
    return figures


BENCHMARK = Benchmark(
    "import",
    "time of an import, and the modules that it loads",
    add_options,
    run,
    quick=("--rounds", "1", "--no-workerd"),
)
