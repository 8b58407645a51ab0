"""How many chunks a second can be stored, and how long one takes, with many streams at once.

**In the process.** N streams, one task each, store one chunk a call and wait for it before the next. ``ours``:
:class:`~aibind.sqlite.SqliteStreamStore` over :func:`~aibind.sqlite.wrap_sqlite3`, with the chunks numbered, as
StreamWriter does. The yardsticks run on the same tables, journal (WAL), ``synchronous`` and statement, on one aiosqlite
connection:

* ``aiosqlite``: as it is used, ``execute`` and then ``commit``, each chunk in a transaction of its own. Its one
  connection has one transaction at a time, so a lock keeps the streams apart;
* ``aiosqlite_autocommit``: the least it can do: each statement commits by itself, one call a chunk, without a lock;
* ``javascript``: the JavaScript stores' algorithm, on our driver.

``p50_ms`` and ``p99_ms`` are the times of one call.

**As a stream is written** (``ours.streamed``): tokens go through :class:`~aibind.streams.StreamWriter`, as all do in
use, as fast as they are taken; it joins what gathers between two writes, so rows are fewer than tokens, and
``chunks_per_second`` counts tokens.

**At a pace** (``paced``): each stream's model gives ``--rate`` tokens a second by the clock, for two seconds, and the
times are from a token's being due to its being stored: through StreamWriter, and, of ``aiosqlite``, a transaction a
token, each waiting for the one before. Where a store cannot keep up, ``p99_ms`` shows the queue.

**Over HTTP** (``ours.http`` …): N producers post one chunk after another over kept-alive connections, N followers
receive them as server-sent events; the time is from before the post to the bytes at the follower. Both servers speak
the same wire format and have the same driver (:mod:`benchmarks.support.wire`). ``http`` promises what the Node server's
file store promises: each chunk is on the disk (``synchronous=FULL``, no flush interval) before it is answered and sent.
``http_memory`` is in memory. The Node server's file store loses streams when there are more than 100: it has no figures
there. (What our defaults give, with the model in the server, is the benchmark ``server``.)
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from .support.measure import interleave
from .support.result import Benchmark, Figures, Result, Say
from .support.sqlite_http import NODE_FILES, over_http
from .support.sqlite_stores import STORES, append_all
from .support.sqlite_streams import write_at_pace, write_streams

PACED = ("ours", "aiosqlite")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, default=50, help="how many streams are written at once")
    parser.add_argument("--chunks", type=int, default=10_000, help="how many chunks are stored in all, in the process")
    parser.add_argument("--http-chunks", type=int, default=1_500, help="the same over HTTP; 0: not over HTTP")
    parser.add_argument("--rate", type=float, default=100, help="tokens a second of each stream, at a pace")
    parser.add_argument("--paced-seconds", type=float, default=2)
    parser.add_argument("--synchronous", choices=("OFF", "NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace, say: Say) -> Result:
    contenders: dict[str, Callable[[], Figures]] = {
        name: partial(_on_a_file, partial(append_all, store), options) for name, store in STORES.items()
    }
    contenders["streamed"] = partial(_on_a_file, write_streams, options)
    contenders |= {f"paced {kind}": partial(_on_a_file, partial(write_at_pace, kind), options) for kind in PACED}
    found = interleave(contenders, options.rounds, say)
    ours = {**found.pop("ours"), "streamed": found.pop("streamed"), "paced": found.pop("paced ours")}
    found["aiosqlite"]["paced"] = found.pop("paced aiosqlite")
    notes: list[str] = []
    if options.http_chunks:
        http = over_http(options, say)
        found |= {name: http.pop(name) for name in ("node_memory", "node_file") if name in http}
        ours |= http
        if "node_file" not in found:
            notes.append(f"The Durable Streams server loses streams on files when there are more than {NODE_FILES}")
    names = ("streams", "chunks", "rate", "http_chunks", "synchronous", "rounds")
    return Result("sqlite", {name: getattr(options, name) for name in names}, ours, found, notes)


def _on_a_file(
    measure: Callable[[Path, argparse.Namespace], Coroutine[Any, Any, Figures]], options: argparse.Namespace
) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder) / "streams.db", options))


BENCHMARK = Benchmark(
    "sqlite",
    "chunks stored a second, and the time of one, with many streams at once",
    add_options,
    run,
    sweep=(("--streams", "1"), ("--streams", "10"), ("--streams", "50"), ("--streams", "200"), ("--streams", "500")),
    quick=("--streams", "3", "--chunks", "30", "--http-chunks", "12", "--paced-seconds", "0.1", "--rounds", "1"),
)
