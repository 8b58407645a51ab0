"""How far a distant database delays a reply, measured inside workerd.

As ``d1_cost``, with ``--rtt`` milliseconds added to each call to D1. ``behind_ms`` is the time from the end of the
model, by its own clock, to the end of the stream at its reader; ``added_ms`` is the average delay of a token because
the previous one was still being stored. The model keeps its pace whether or not it is read, like a model behind an API.
"""

from __future__ import annotations

import argparse

from .support.result import Benchmark, Figures, Result, Say


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rtt", type=float, default=50, metavar="MS", help="added to each call, in milliseconds")
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--rate", type=float, default=100, help="tokens a second")
    parser.add_argument("--rounds", type=int, default=2)


def run(options: argparse.Namespace, say: Say) -> Result:
    from .support.isolates import open_isolates, prepare, reply_in_isolate
    from .support.measure import median_figures

    found: dict[str, list[Figures]] = {"ours": [], "javascript": []}
    with open_isolates(say) as rig:
        prepare(rig)
        for number in range(options.rounds):
            for kind, figures in found.items():
                say(f"round {number + 1} of {options.rounds}: {kind}, {options.rtt:g} ms to the database")
                figures.append(
                    reply_in_isolate(
                        rig,
                        kind,
                        tokens=options.tokens,
                        rate=options.rate,
                        followers=1,
                        rtt_ms=options.rtt,
                        stream_id=f"latency-{kind}-{number}",
                    )
                )
    names = ("rtt", "tokens", "rate", "rounds")
    return Result(
        "d1_latency",
        {name: getattr(options, name) for name in names},
        median_figures(found["ours"]),
        {"javascript": median_figures(found["javascript"])},
    )


BENCHMARK = Benchmark(
    "d1_latency",
    "how far behind its model a reply ends, with the database far away, inside workerd",
    add_options,
    run,
    sweep=(("--rtt", "1"), ("--rtt", "20"), ("--rtt", "50")),
    quick=("--tokens", "20", "--rtt", "5", "--rounds", "1"),
)
