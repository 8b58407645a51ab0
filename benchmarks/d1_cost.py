"""What a reply costs a D1 database: statements, round trips and rows, measured inside workerd.

A model in a Python Worker produces ``--tokens`` tokens, ``--rate`` a second. They pass through
:class:`~aibind.streams.DurableStream` into D1 and to ``--followers`` live readers: the first is the response to the
request that started the reply, the others resume it in the same isolate, which on Workers has to go through D1. The
text of each reader is checked. Everything is counted at the D1 binding, in JavaScript; rows are those that workerd's
own D1 reports and Cloudflare bills.

The yardstick ``javascript`` is the JavaScript stores' algorithm in the same Worker, on the tables of its documentation;
all its live readers poll. ``fewer`` is how many times more it needs. ``python -m benchmarks follow --where isolate``
counts what a reader in another isolate costs.
"""

from __future__ import annotations

import argparse

from .support.result import Benchmark, Figures, Result, Say


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second")
    parser.add_argument("--followers", type=int, default=1)


def run(options: argparse.Namespace, say: Say) -> Result:
    from .support.isolates import open_isolates, prepare, reply_in_isolate

    found: dict[str, Figures] = {}
    with open_isolates(say) as rig:
        prepare(rig)
        for kind in ("ours", "javascript"):
            say(f"{kind}: {options.tokens} tokens at {options.rate:g} a second")
            found[kind] = reply_in_isolate(rig, kind, rtt_ms=0, stream_id=f"cost-{kind}", **_asked(options))
    ours, theirs = found["ours"], found["javascript"]
    ours["fewer"] = {
        name: round(theirs[name] / ours[name], 1) for name in ("statements", "round_trips", "rows_written")
    }
    return Result("d1_cost", _asked(options), ours, {"javascript": theirs})


def _asked(options: argparse.Namespace) -> Figures:
    return {"tokens": options.tokens, "rate": options.rate, "followers": options.followers}


BENCHMARK = Benchmark(
    "d1_cost",
    "statements, round trips and rows of a reply in D1, inside workerd",
    add_options,
    run,
    sweep=((), ("--tokens", "60000")),
    quick=("--tokens", "30"),
)
