"""How many chunks can be stored per second, and how long each takes, with many streams at once.

**In the process.** N streams, one task each, store one chunk per call and wait for it before the next. ``ours`` is
:class:`~aibind.sqlite.SqliteStreamStore` over :func:`~aibind.sqlite.wrap_sqlite3`, with numbered chunks, as
StreamWriter writes them. The yardsticks run on the same tables, journal (WAL), ``synchronous`` and statement, on one
aiosqlite connection:

* ``aiosqlite``: its usual form, ``execute`` and then ``commit``, each chunk in a separate transaction. A connection has
  one transaction at a time, so a lock keeps the streams apart;
* ``aiosqlite_autocommit``: the minimum: each statement commits by itself, one call per chunk, without a lock;
* ``javascript``: the JavaScript stores' algorithm, on our driver.

``p50_ms`` and ``p99_ms`` are the times of one call.

**As a stream is written** (``ours.streamed``): tokens pass through :class:`~aibind.streams.StreamWriter`, as they do in
use, as fast as it accepts them. It joins the tokens between two writes, so there are fewer rows than tokens;
``chunks_per_second`` counts tokens.

**At a pace** (``paced``): the model of each stream produces ``--rate`` tokens a second by the clock, for two seconds.
Times are from the moment a token is due until it is stored: for aibind through StreamWriter, for ``aiosqlite`` with a
transaction per token, each waiting for the previous one. Where a store cannot keep up, ``p99_ms`` shows the queue.

**Over HTTP** (``ours.http`` …): N producers post one chunk after another over kept-alive connections, and N followers
receive them as server-sent events; times are from before the post until the bytes reach the follower. Both servers use
the same wire format and the same driver (:mod:`benchmarks.support.wire`). ``http`` gives the guarantee of the Node
server's file store: each chunk is on the disk (``synchronous=FULL``, no flush interval) before it is answered and sent.
``http_memory`` is in memory. The Node server's file store loses streams when there are more than 100, so it has no
figures there. (The benchmark ``server`` measures the defaults, with the model in the server.)
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
