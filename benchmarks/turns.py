"""What a turn costs in a conversation of any length, beside other libraries that keep conversations in SQLite.

A turn is a question and its answer: load the last ``--seen`` messages, which is what the model is given, store the
question, and store the answer. Before it the conversation has ``--messages`` messages, of about the length that people
and models write. Short conversations are measured over many sessions, so that they stay as long as they are.

``ours`` is :class:`~aibind.sqlite.SqliteMessageStore`, a row a message. The yardsticks are used as their documentation
says, through their own methods, and make their tables themselves:

* ``json_table``: our :class:`~aibind.sqlite.SqliteConversationStore`, a row a conversation, which JavaScript shares;
* ``sqlite_session``: ``SQLiteSession`` of the OpenAI Agents SDK, ``get_items(limit)`` and ``add_items`` twice. One
  object serves all sessions, so that its connection stays open; an object for each request would open one each time;
* ``langgraph``: a graph of one node, which answers with a fixed text, with LangGraph's ``AsyncSqliteSaver``. It keeps
  all messages in each checkpoint, and ``p50_ms`` includes running the graph. Its conversation is stored by one run, not
  by one for each turn, whose checkpoints would fill the disk.

All use the same journal (WAL) and ``synchronous``; ``as_shipped`` is the time with the yardstick's own ``synchronous``,
which is FULL. Each measurement is a fresh process, with the same Python and SQLite, on a copy of a file that was made
once; a slow contender has fewer turns than ``--turns``.

``statements`` are those that SQLite was given, without BEGIN, COMMIT and PRAGMA; ``rows_read`` are the rows that they
returned, and ``rows_written`` those that they inserted or changed. ``bytes`` are those of the SQL with its arguments,
``bytes_returned`` those of the rows read, and ``log_bytes`` is how far the write-ahead log grew, in whole pages. They
are counted in a separate process at the sqlite3 module, over one turn, which is then read back.

``load_p50_ms`` is a load of the last 20 messages alone (``json_table`` and ``langgraph``: of all).
``first_token_ms`` is from a request to :class:`~aibind.server.StreamHandler`, with durable streams in the same file,
until the first token of its response; the model answers at once.

``d1`` is our turn in D1, inside workerd, with up to 10,000 messages: what the binding counted, with the rows that D1
bills, and ``bytes`` as above.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from .support.child import python, run_child
from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say
from .support.yardsticks import install_yardsticks

OURS = ("ours", "json_table")
THEIRS = ("sqlite_session", "langgraph")
KINDS = (*OURS, *THEIRS, "d1")
LOADED = 20
MAX_D1_MESSAGES = 10_000
MAX_FILL_S = 60.0


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
        found = _on_files(_Files(Path(folder), options), [kind for kind in kinds if kind != "d1"], notes, say)
    ours = found.pop("ours", {})
    if "d1" in kinds:
        if options.messages <= MAX_D1_MESSAGES:
            ours["d1"] = _in_workerd(options, say)
        else:
            notes.append(f"D1 is measured with up to {MAX_D1_MESSAGES:,} messages")
    names = ("messages", "seen", "turns", "seconds", "synchronous", "rounds")
    return Result("turns", {name: getattr(options, name) for name in names}, ours, found, notes)


def _on_files(files: _Files, kinds: list[str], notes: list[str], say: Say) -> dict[str, Figures]:
    counted: dict[str, Figures] = {}
    timed: dict[str, Callable[[], Figures]] = {}
    for kind in kinds:
        say(f"filling {kind}")
        seconds = files.fill(kind)["seconds"]
        if seconds > MAX_FILL_S:
            notes.append(f"{kind} took {seconds:.0f} s to store the conversation")
        say(f"counting {kind}")
        counted[kind] = files.run("count", kind)
        timed[kind] = partial(files.run, "time", kind)
        if kind in THEIRS:
            timed[f"{kind} as_shipped"] = partial(files.run, "time", kind, synchronous=None)
        else:
            timed[f"{kind} first_token"] = partial(files.run, "first_token", kind)
    figures = interleave(timed, files.rounds, say)
    found = {kind: {**figures[kind], **counted[kind]} for kind in kinds}
    for kind in kinds:
        if kind in THEIRS:
            found[kind]["as_shipped"] = figures[f"{kind} as_shipped"]
        else:
            found[kind] |= _without_range(found[kind], figures[f"{kind} first_token"])
    return found


def _without_range(into: Figures, figures: Figures) -> Figures:
    """Return the figures, with their ranges added to those that are there."""
    spread = {**into.get("range", {}), **figures.get("range", {})}
    return {**figures, **({"range": spread} if spread else {})}


class _Files:
    """A file of conversations for each contender, copied for each measurement."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.rounds: int = options.rounds
        self._folder = folder
        # A turn may lengthen a conversation by a tenth at most.
        sessions = -(-20 * options.turns // max(20, options.messages))
        self._options: Mapping[str, object] = {
            "messages": options.messages,
            "sessions": max(1, min(options.turns, sessions)),
            "turns": options.turns,
            "limit": options.seen,
            "loaded": LOADED,
            "limit_s": options.seconds,
            "synchronous": options.synchronous,
        }

    def fill(self, kind: str) -> Figures:
        return self._child("fill", kind, self._folder / f"{kind}.db")

    def run(self, command: str, kind: str, **changed: object) -> Figures:
        copy = self._folder / "copy.db"
        for old in self._folder.glob("copy.db*"):
            old.unlink()
        shutil.copyfile(self._folder / f"{kind}.db", copy)
        return self._child(command, kind, copy, **changed)

    def _child(self, command: str, kind: str, path: Path, **changed: object) -> Figures:
        interpreter = install_yardsticks() if kind in THEIRS else sys.executable
        line = python("support.turn_child", command, kind, path, json.dumps({**self._options, **changed}))
        found: Figures = run_child([interpreter, *line[1:]])
        return found


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
    sweep=tuple(("--messages", str(count)) for count in (10, 100, 1000, 10_000, 100_000)),
    quick=("--messages", "4", "--turns", "3", "--rounds", "1"),
)
