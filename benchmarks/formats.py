"""A thousand followers of one reply in each wire format, beside aibind's own server-sent events.

One uvicorn worker serves the reply of a model that produces ``--rate`` tokens a second, over a SQLite file, and
``--followers`` connections of another process follow it from its beginning, as in the benchmark ``server``. ``ai_sdk``
is :func:`aibind.server.create_chat_app` and ``ag_ui`` :func:`aibind.server.create_agent_app`; ``json_lines`` and
``plain_text`` are a Starlette route each that returns :func:`aibind.protocols.respond`, and ``durable_response`` is a
route whose generator :func:`aibind.server.durable_response` made durable, followed through
:func:`aibind.server.resume_response`.

Each run of a format comes right after one of the own format, and ``times`` are the ratios of such a pair (1: as much as
the own format), the median of ``--rounds`` pairs. ``cpu_us_per_token`` is the server's processor time for each token
that it delivered, which other programs disturb less than they do delays.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from .support.crowd_run import CrowdOptions, serve_crowd
from .support.formats import FORMATS, OWN
from .support.measure import median_figures
from .support.result import Benchmark, Figures, Result, Say

OTHERS = tuple(name for name in FORMATS if name != OWN)
COMPARED = ("p50_ms", "p99_ms", "kb_per_follower", "cpu_us_per_token")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20, help="tokens a second")
    parser.add_argument("--seconds", type=float, default=5, help="how long the reply is")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=OTHERS, nargs="+", default=OTHERS)


def run(options: argparse.Namespace, say: Say) -> Result:
    own: list[Figures] = []
    found: dict[str, list[Figures]] = {name: [] for name in OTHERS if name in options.only}
    served_by: dict[str, str] = {}
    for number in range(options.rounds):
        for name, rounds in found.items():
            say(f"round {number + 1} of {options.rounds}: {name}")
            own.append(_measure(OWN, options, served_by))
            figures = _measure(name, options, served_by)
            rounds.append({**figures, "times": _ratios(figures, own[-1])})
    ours = {**median_figures(own), **{name: median_figures(rounds) for name, rounds in found.items()}}
    names = ("followers", "rate", "seconds", "rounds")
    return Result("formats", {name: getattr(options, name) for name in names} | served_by, ours, {})


def _ratios(figures: Figures, own: Figures) -> Figures:
    return {name: round(figures[name] / own[name], 3) for name in COMPARED if own[name]}


def _measure(name: str, options: argparse.Namespace, served_by: dict[str, str]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_run(name, Path(folder) / "streams.db", options, served_by))


async def _run(name: str, path: Path, options: argparse.Namespace, served_by: dict[str, str]) -> Figures:
    crowd = CrowdOptions(options.followers, 1, options.rate, options.seconds, name)
    async with serve_crowd(f"format:{name}", path, crowd) as (figures, serving):
        served_by.update({name: serving[name] for name in ("loop", "http")})
        return figures


BENCHMARK = Benchmark(
    "formats",
    "delay and memory with a thousand followers of one reply, in each wire format",
    add_options,
    run,
    quick=("--followers", "4", "--rate", "50", "--seconds", "0.4", "--rounds", "1"),
)
