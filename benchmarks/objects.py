"""Followers of a reply in a Durable Object: how old a token is when its bytes arrive, inside workerd.

One object says ``--tokens`` tokens at ``--rate`` a second to 1 to 500 connections, which follow it before it begins.
``late`` are as many as the most of them that come while it speaks; what is said once all are there counts.
``statements`` and ``rows_written`` are counted in the object, during the reply: they are the writer's. ``elsewhere`` is
a follower through another Worker, and ``stop`` is the time from a request to that Worker until the model was closed.
Server and readers share the machine's processors. The yardstick ``javascript`` is an object in JavaScript that stores
each token and enqueues its bytes to each follower, and does no more.
"""

from __future__ import annotations

import argparse
import time

from .support.measure import delay_figures
from .support.result import Benchmark, Figures, Result, Say


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50, help="tokens a second")
    parser.add_argument("--followers", type=int, nargs="+", default=[1, 10, 100, 500])
    parser.add_argument("--stops", type=int, default=30)


def run(options: argparse.Namespace, say: Say) -> Result:
    from .support.object_crowd import (
        follow_javascript,
        follow_object,
        open_javascript,
        open_objects,
        stop_object,
        warm_up,
    )

    found: Figures = {}
    yardstick: Figures = {}
    with open_javascript(say) as url:
        follow_javascript(url, 1, tokens=20, rate=50)
        for count in options.followers:
            say(f"JavaScript: {count} followers")
            figures = follow_javascript(url, count, tokens=options.tokens, rate=options.rate)
            yardstick[f"followers_{count}"] = figures
    with open_objects(say) as rig:
        follow_object(rig, "first", 1, tokens=20, rate=50)
        warm_up(rig)
        for count in options.followers:
            say(f"{count} followers")
            found[f"followers_{count}"] = follow_object(rig, "first", count, tokens=options.tokens, rate=options.rate)
        most = max(options.followers)
        say(f"{most} late followers")
        found["late"] = follow_object(rig, "first", most, tokens=options.tokens, rate=options.rate, are_late=True)
        say("a follower through another Worker")
        found["elsewhere"] = follow_object(rig, "second", 1, tokens=options.tokens, rate=options.rate)
        took = []
        for number in range(options.stops):
            say(f"stop {number + 1} of {options.stops}")
            took.append(stop_object(rig, number))
            time.sleep(0.05)
        found["stop"] = delay_figures(took)
    names = ("tokens", "rate", "stops")
    return Result("objects", {name: getattr(options, name) for name in names}, found, {"javascript": yardstick})


BENCHMARK = Benchmark(
    "objects",
    "how old a token is at the followers of a Durable Object, inside workerd",
    add_options,
    run,
    quick=("--tokens", "20", "--followers", "1", "5", "--stops", "2"),
)
