"""What a reply costs on Cloudflare, in D1 and in a Durable Object, counted inside workerd and priced.

A reply of ``--tokens`` tokens, ``--rate`` a second, has one live reader, and a tenth of one that resumes it later. Rows
are those that workerd reports for each statement, with the removal of the reply when it has expired. In an object they
include the tables that a new object makes, and its alarms; it is in memory while the reply lasts. ``dollars`` is for a
million replies, by Cloudflare's prices of November 2026, before what a plan includes
(``testbed/workerd/prices.py``).

``ours`` is a DurableStreamObject, with a conversation of many turns in one object (its questions and answers are
counted), ``object`` the same with an object for each reply, without conversations, and ``d1`` is
:class:`~aibind.sqlite.SqliteStreamStore` on D1, without conversations. The yardstick ``javascript`` is the JavaScript
stores' algorithm on D1; ``agents`` are Cloudflare's agents, computed from how they pack chunks. ``p50_ms`` is the age
of a token at the reader of an object, over a real socket.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from testbed.workerd.prices import Operations, agents_reply, dollars_of

from .support.result import Benchmark, Figures, Result, Say

if TYPE_CHECKING:
    from testbed.workerd.rig import Rig

RESUMED = 0.1
"""The part of the replies that is resumed once."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second")


def run(options: argparse.Namespace, say: Say) -> Result:
    from .support.isolates import open_isolates, prepare
    from .support.objects import object_a_conversation, object_a_reply

    found: dict[str, Figures] = {}
    with open_isolates(say) as rig:
        prepare(rig)
        for name, count in (("ours", object_a_conversation), ("object", object_a_reply)):
            say(f"{name}: {options.tokens} tokens at {options.rate:g} a second")
            operations, figures = count(rig, options.tokens, options.rate, RESUMED)
            found[name] = {**_figures(operations), **figures}
        for name, kind in (("d1", "ours"), ("javascript", "javascript")):
            say(f"{name}: {options.tokens} tokens at {options.rate:g} a second")
            found[name] = _figures(_on_d1(rig, kind, options))
    agents = agents_reply(options.tokens, options.rate, RESUMED)
    return Result(
        "engines",
        {"tokens": options.tokens, "rate": options.rate},
        {**found["ours"], "object": found["object"], "d1": found["d1"]},
        {"javascript": found["javascript"], "agents": _figures(agents)},
    )


def _on_d1(rig: Rig, kind: str, options: argparse.Namespace) -> Operations:
    from .support.isolates import reply_in_isolate, resume_in_isolate, sweep_in_isolate

    stream_id = f"engines-{kind}"
    asked = {"tokens": options.tokens, "rate": options.rate, "followers": 1, "rtt_ms": 0, "stream_id": stream_id}
    written = reply_in_isolate(rig, kind, **asked)
    resumed = resume_in_isolate(rig, kind, stream_id)
    swept = sweep_in_isolate(rig, kind, stream_id)
    return (
        Operations(worker_requests=1, rows_read=written["rows_read"], rows_written=written["rows_written"])
        + Operations(worker_requests=1, rows_read=resumed["rows_read"]) * RESUMED
        + Operations(rows_read=swept["rows_read"], rows_written=swept["rows_written"])
    )


def _figures(operations: Operations) -> Figures:
    counted = {name: round(count, 2) for name, count in asdict(operations).items()}
    return {**counted, "dollars": round(dollars_of(operations), 1)}


BENCHMARK = Benchmark(
    "engines",
    "what a reply costs in D1 and in a Durable Object, inside workerd, and a million of them in dollars",
    add_options,
    run,
    sweep=((),),
    quick=("--tokens", "30"),
)
