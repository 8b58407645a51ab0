"""How long it takes to build, save and load a conversation, beside Node's JSON for the same text.

A linear chat of ``--messages`` messages, questions and answers of about the length that people and models write. Each
round runs in a fresh process: ``build_seconds`` appends all messages; then, several times over, ``load_seconds`` is
:meth:`ChatHistory.from_json`, with all its checks, and ``save_seconds`` is :meth:`ChatHistory.to_json` after adding a
turn of two messages, which is the cost of saving a turn before the database. ``store_load_seconds`` and
``store_save_seconds`` are the same through :class:`~aibind.sqlite.SqliteConversationStore` on a file. Each figure is
the median of repeated measurements, also in Node.

The yardstick ``node`` is ``JSON.parse`` and ``JSON.stringify`` of the same text, without any checks: the least that a
JavaScript store has to do. ``python_json`` is ``json.loads`` and ``json.dumps``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from testbed.node import find_node

from .support.child import python, run_child
from .support.measure import interleave
from .support.node import FOLDER
from .support.result import Benchmark, Figures, Result, Say


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace, say: Say) -> Result:
    repeats = max(3, min(200, 200_000 // options.messages))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        say("building the chat")
        run_child(python("support.history_child", "write", path, options.messages, 1))
        contenders = {
            "ours": partial(run_child, python("support.history_child", "ours", path, options.messages, repeats)),
            "node": partial(_node, path, repeats),
            "python_json": partial(run_child, python("support.history_child", "json", path, options.messages, repeats)),
        }
        found = interleave(contenders, options.rounds, say)
        size = path.stat().st_size
    ours = {**found.pop("ours"), "json_mb": round(size / 1e6, 3)}
    return Result("history", {"messages": options.messages, "rounds": options.rounds}, ours, found)


def _node(path: Path, repeats: int) -> Figures:
    found: dict[str, Any] = run_child([find_node(), str(FOLDER / "json.mjs"), str(path), str(repeats)])
    assert found["same"]
    load, save = statistics.median(found["load"]), statistics.median(found["save"])
    return {"seconds": round(load + save, 7), "save_seconds": round(save, 7), "load_seconds": round(load, 7)}


BENCHMARK = Benchmark(
    "history",
    "time to build, save and load a conversation",
    add_options,
    run,
    sweep=(("--messages", "10"), ("--messages", "1000"), ("--messages", "100000")),
    quick=("--messages", "10", "--rounds", "1"),
)
