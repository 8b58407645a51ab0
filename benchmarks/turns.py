"""The cost of a turn in a conversation of any length, beside other libraries that keep conversations in SQLite.

A turn is a question and its answer: load the last ``--seen`` messages, which the model is given, store the question,
and store the answer. Before it the conversation has ``--messages`` messages, of about the length that people and
models write. Short conversations are measured over many sessions, so that they stay short.

``ours`` is :class:`~aibind.sqlite.SqliteMessageStore`, a row a message. The yardsticks create their own tables:

* ``json_table``: :class:`~aibind.sqlite.SqliteConversationStore`, a row a conversation, in the format of the
  JavaScript packages; a turn loads and saves all of it;
* ``sqlite_session``: ``SQLiteSession`` of the OpenAI Agents SDK, with ``get_items(limit)`` and ``add_items`` twice. One
  object serves all sessions, so that its connection stays open; an object for each request would open one each time;
* ``langgraph``: a graph of one node, which answers with a fixed text, and LangGraph's ``AsyncSqliteSaver``. Each
  checkpoint holds all messages, and ``p50_ms`` includes running the graph. The conversation before the turn is stored
  by one run: the checkpoints of one run for each turn would fill the disk.

All use a WAL and the same ``--synchronous``. ``as_shipped`` is the time with SQLite's default instead, FULL, which both
libraries leave as it is. Each measurement is a fresh process with the same Python and SQLite, on a copy of a file that
is created once (``fill_seconds``). A slow contender stores fewer turns than ``--turns``.

``statements`` are those that SQLite ran, without BEGIN, COMMIT and PRAGMA; ``rows_read`` are the rows that they
returned, ``rows_written`` the rows that they inserted or changed. ``bytes`` is the size of the SQL and its arguments,
``bytes_returned`` that of the rows read, and ``log_bytes`` is the growth of the WAL, in whole pages. All are counted at
the sqlite3 module, during one turn, and the conversation is read back afterwards and compared.

``growth`` is our time divided by the time of the same turn after 10 messages (``short``), measured in the same rounds;
``faster`` is the time of a yardstick divided by ours. ``load_p50_ms`` is the time to load the last 20 messages
(``json_table`` and ``langgraph``: all messages). ``first_token_ms`` is the time from a request to
:class:`~aibind.server.StreamHandler`, with durable streams in the same file and a model that answers at once, to the
first token of the response.

``d1`` is our turn in D1, inside workerd, after at most 10,000 messages. It is counted at the binding: rows are those
that D1 bills, and ``bytes`` is the size of the SQL and its arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from .support.child import python, run_child
from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say
from .support.yardsticks import install_yardsticks

OURS = ("ours", "json_table")
THEIRS = ("sqlite_session", "langgraph")
KINDS = (*OURS, *THEIRS, "d1")
SHORT = 10
LOADED = 20
MAX_D1_MESSAGES = 10_000
MAX_FILL_S = 60.0

Runs = dict[str, Figures]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=10_000, help="messages of the conversation before a turn")
    parser.add_argument("--seen", type=int, default=10, help="messages that are loaded for the model")
    parser.add_argument("--turns", type=int, default=300, help="turns that are timed in a round")
    parser.add_argument("--seconds", type=float, default=5, help="time after which a contender has had turns enough")
    parser.add_argument("--synchronous", choices=("OFF", "NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)


def run(options: argparse.Namespace, say: Say) -> Result:
    kinds = [kind for kind in KINDS if kind in options.only]
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        found = _on_files(Path(folder), [kind for kind in kinds if kind != "d1"], options, notes, say)
    ours = found.pop("ours", {})
    if "short" in found:
        ours["short"] = found.pop("short")
        ours["growth"] = round(ours["p50_ms"] / ours["short"]["p50_ms"], 2)
        ours["faster"] = {kind: round(figures["p50_ms"] / ours["p50_ms"], 2) for kind, figures in found.items()}
    if "d1" in kinds:
        if options.messages <= MAX_D1_MESSAGES:
            ours["d1"] = _in_workerd(options, say)
        else:
            notes.append(f"D1 is measured with up to {MAX_D1_MESSAGES:,} messages")
    names = ("messages", "seen", "turns", "seconds", "synchronous", "rounds")
    return Result("turns", {name: getattr(options, name) for name in names}, ours, found, notes)


def _on_files(folder: Path, kinds: list[str], options: argparse.Namespace, notes: list[str], say: Say) -> Runs:
    children = {kind: _Child(kind, folder / f"{kind}.db", options, options.messages) for kind in kinds}
    if "ours" in kinds:
        children["short"] = _Child("ours", folder / "short.db", options, SHORT)
    prepared: Runs = {}
    for name, child in children.items():
        say(f"preparing {name}")
        prepared[name] = child.run("prepare")
        seconds = prepared[name]["fill_seconds"]
        if seconds > MAX_FILL_S:
            notes.append(f"{name} took {seconds:.0f} s to store the conversations")
    found = interleave({name: child.measure for name, child in children.items()}, options.rounds, say)
    return {name: {**figures, **prepared[name]} for name, figures in found.items()}


class _Child:
    """The measurements of one contender, each in a fresh process, on a file of conversations."""

    def __init__(self, kind: str, path: Path, options: argparse.Namespace, messages: int) -> None:
        self._kind = kind
        self._path = path
        # A turn may lengthen a conversation by a tenth at most.
        sessions = -(-20 * options.turns // max(20, messages))
        self._options = {
            "messages": messages,
            "sessions": max(1, min(options.turns, sessions)),
            "turns": options.turns,
            "limit": options.seen,
            "loaded": LOADED,
            "limit_s": options.seconds,
            "synchronous": options.synchronous,
        }

    def run(self, command: str) -> Figures:
        line = python("support.turn_child", command, self._kind, self._path, json.dumps(self._options))
        interpreter = install_yardsticks() if self._kind in THEIRS else sys.executable
        figures: Figures = run_child([interpreter, *line[1:]])
        return figures

    def measure(self) -> Figures:
        figures = self.run("time")
        return figures if self._kind in THEIRS else {**figures, **self.run("first_token")}


def _in_workerd(options: argparse.Namespace, say: Say) -> Figures:
    from .support.isolates import open_isolates, turn_in_isolate

    with open_isolates(say) as rig:
        say(f"a turn after {options.messages:,} messages in D1")
        return turn_in_isolate(rig, options.messages, options.seen)


BENCHMARK = Benchmark(
    "turns",
    "time, statements, rows and bytes of a turn in a conversation of any length",
    add_options,
    run,
    sweep=tuple(("--messages", str(count)) for count in (10, 1000, 10_000, 100_000)),
    quick=("--messages", "4", "--turns", "3", "--rounds", "1", "--only", *OURS, *THEIRS),
)
