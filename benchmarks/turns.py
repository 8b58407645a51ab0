"""The cost of a turn in a conversation of any length, beside other libraries that keep conversations in SQLite.

A turn is a question and its answer: load the last ``--seen`` messages, which the model is given, store the question,
and store the answer. Before it the conversation has ``--messages`` messages, of about the length that people and
models write; not fewer than ``--seen``, so that every length loads as many. Short conversations are measured over many
sessions, so that they stay short.

``ours`` is :class:`~aibind.sqlite.SqliteMessageStore`, a row a message. The yardsticks create their own tables:

* ``json_table``: :class:`~aibind.sqlite.SqliteConversationStore`, a row a conversation, in the format of the
  JavaScript packages; a turn loads and saves all of it;
* ``sqlite_session``: ``SQLiteSession`` of the OpenAI Agents SDK, with ``get_items(limit)`` and ``add_items`` twice. One
  object serves all sessions, so that its connection stays open; an object for each request would open one each time.
  It keeps a list without branches, and takes less time than ours when used so;
* ``langgraph``: a graph of one node, which answers with a fixed text, and LangGraph's ``AsyncSqliteSaver``. Each
  checkpoint holds all messages, and ``p50_ms`` includes running the graph. The conversation before the turn is stored
  by one run: the checkpoints of one run for each turn would fill the disk.

``as_used`` is ``SQLiteSession`` as its documentation uses it: an object for each request, which opens the database, and
a run that loads all messages, for which the SDK sets no limit; with SQLite's default ``synchronous``.

All use a WAL and the same ``--synchronous``. ``as_shipped`` is the time with SQLite's default instead, FULL, which both
libraries leave as it is. Each round is a fresh process with the same Python and SQLite, on copies of files that are
created once (``fill_seconds``). In it, ours and ``sqlite_session`` alternate, in random order, so that other load on
the machine affects both alike. A slow contender stores fewer turns than ``--turns``.

``statements`` are those that SQLite ran, without BEGIN, COMMIT and PRAGMA; ``rows_read`` are the rows that they
returned, ``rows_written`` the rows that they inserted or changed. ``bytes`` is the size of the SQL and its arguments,
``bytes_returned`` that of the rows read, and ``log_bytes`` is the growth of the WAL, in whole pages. All are counted at
the sqlite3 module, as means of up to 20 turns; then a conversation is read back and compared.

``growth`` is our time divided by the time of the same turn after 10 messages (``short``), measured in the same rounds;
``faster`` is the time of a yardstick divided by ours. ``load_p50_ms`` is the time to load the last 20 messages
(``langgraph``: all messages). ``first_token_ms`` is the time from a request to
:class:`~aibind.server.StreamHandler`, with durable streams in the same file and a model that answers at once, to the
first token of the response.

``d1`` is our turn in D1, inside workerd, after at most 10,000 messages. It is counted at the binding, in a table with
another conversation behind it: rows are those that D1 bills, and ``bytes`` is the size of the SQL and its arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .support.child import ROOT, python, run_child
from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say
from .support.yardsticks import install_yardsticks

OURS = ("ours", "json_table")
THEIRS = ("sqlite_session", "langgraph")
FILES = (*OURS, *THEIRS)
KINDS = (*FILES, "d1")
GROUPS = (("ours", "short", "sqlite_session"), ("json_table",), ("langgraph",))
SHIPPED = " as_shipped"
USED = " as_used"
SHORT = 10
LOADED = 20
MAX_D1_MESSAGES = 10_000
MAX_FILL_S = 60.0

Runs = dict[str, Figures]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=10_000, help="messages of the conversation before a turn")
    parser.add_argument("--seen", type=int, default=10, help="messages that are loaded for the model")
    parser.add_argument("--turns", type=int, default=300, help="turns that are timed in a round")
    parser.add_argument("--seconds", type=float, default=3, help="time after which a contender has had turns enough")
    parser.add_argument("--synchronous", choices=("OFF", "NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=KINDS, nargs="+", default=KINDS)


def run(options: argparse.Namespace, say: Say) -> Result:
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        found = _on_files(Path(folder), options, notes, say)
    ours = found.pop("ours", {})
    if ours:
        ours["short"] = found.pop("short")
        ours["growth"] = round(ours["p50_ms"] / ours["short"]["p50_ms"], 2)
        ours["faster"] = {kind: round(figures["p50_ms"] / ours["p50_ms"], 2) for kind, figures in found.items()}
    if "d1" in options.only:
        if options.messages <= MAX_D1_MESSAGES:
            ours["d1"] = _in_workerd(options, say)
        else:
            notes.append(f"D1 is measured with up to {MAX_D1_MESSAGES:,} messages")
    names = ("messages", "seen", "turns", "seconds", "synchronous", "rounds")
    return Result("turns", {name: getattr(options, name) for name in names}, ours, found, notes)


def _on_files(folder: Path, options: argparse.Namespace, notes: list[str], say: Say) -> Runs:
    lanes = {kind: _lane(kind, folder / kind, options.messages, options) for kind in FILES if kind in options.only}
    if "ours" in lanes:
        lanes["short"] = _lane("ours", folder / "short", SHORT, options)
    prepared: Runs = {}
    for name, lane in lanes.items():
        say(f"preparing {name}")
        prepared[name] = _child("prepare", lane, theirs=name in THEIRS)
        if (seconds := prepared[name]["fill_seconds"]) > MAX_FILL_S:
            notes.append(f"{name} took {seconds:.0f} s to store the conversations")
    contenders: dict[str, Callable[[], Figures]] = {}
    for group in GROUPS:
        together = {name: lanes[name] for name in group if name in lanes}
        if together:
            contenders[" and ".join(together)] = partial(_time, together, options)
    for name in OURS:
        if name in lanes:
            contenders[f"{name} first_token"] = partial(_child, "first_token", lanes[name], theirs=False)
    found: Runs = {}
    for name, figures in interleave(contenders, options.rounds, say).items():
        if name.endswith(" first_token"):
            _add(found[name.removesuffix(" first_token")], figures)
        else:
            found |= figures
    return {name: {**figures, **prepared[name]} for name, figures in found.items()}


def _lane(kind: str, path: Path, messages: int, options: argparse.Namespace) -> Figures:
    # A turn may lengthen a conversation by a tenth at most.
    sessions = -(-20 * options.turns // max(20, messages))
    return {
        "kind": kind,
        "path": f"{path}.db",
        "messages": messages,
        "sessions": max(1, min(options.turns, sessions)),
        "turns": options.turns,
        "limit": options.seen,
        "loaded": LOADED,
        "limit_s": options.seconds,
        "synchronous": options.synchronous,
    }


def _time(lanes: Runs, options: argparse.Namespace) -> Figures:
    shipped = {f"{name}{SHIPPED}": {**lane, "synchronous": None} for name, lane in lanes.items() if name in THEIRS}
    used = {
        f"{name}{USED}": {**lane, "kind": "sqlite_session_as_used"} for name, lane in lanes.items() if name == THEIRS[0]
    }
    told = {"groups": [lanes, shipped, used], "turns": options.turns, "limit_s": options.seconds}
    figures = _child("time", told, theirs=bool(shipped))
    for name in shipped:
        figures[name.removesuffix(SHIPPED)]["as_shipped"] = figures.pop(name)
    for name in used:
        figures[name.removesuffix(USED)]["as_used"] = figures.pop(name)
    return figures


def _child(command: str, told: Figures, *, theirs: bool) -> Figures:
    """Run a command where the libraries are; aibind needs no more than its source."""
    interpreter = install_yardsticks() if theirs else sys.executable
    line = python("support.turn_child", command, json.dumps(told))
    figures: Figures = run_child([interpreter, *line[1:]], environment={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    return figures


def _add(figures: Figures, more: Figures) -> None:
    """Add figures, and their ranges to those that are there."""
    spread = {**figures.get("range", {}), **more.get("range", {})}
    figures |= {**more, **({"range": spread} if spread else {})}


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
    sweep=tuple(("--messages", str(count)) for count in (10, 10_000, 100_000)),
    quick=("--messages", "10", "--turns", "3", "--rounds", "1", "--only", *FILES),
)
