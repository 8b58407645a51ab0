"""Benchmarks inside workerd: two isolates with Python, over one D1 database whose binding counts and can be slowed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from testbed.workerd.install import ROOT
from testbed.workerd.rig import Rig, Worker
from testbed.workerd.setting import parse_setting

from .measure import delay_figures, median_figures
from .result import Figures, Result, Say

__all__ = [
    "follow_in_isolates",
    "import_in_isolate",
    "open_isolates",
    "prepare",
    "reply_in_isolate",
    "resume_in_isolate",
    "sweep_in_isolate",
    "turn_in_isolate",
]

SETTING = "py314"
MAX_ANSWER_S = 1200
FILES = {
    "entry.py": ROOT / "benchmarks" / "support" / "isolate_entry.py",
    **{
        f"{module}.py": ROOT / f"{module}.py"
        for module in (
            "benchmarks/__init__",
            "benchmarks/support/__init__",
            "benchmarks/support/chat",
            "benchmarks/support/clocked",
            "benchmarks/support/reply",
            "benchmarks/support/sizes",
            "benchmarks/support/turn",
            "testbed/__init__",
            "testbed/javascript",
        )
    },
}

OBJECT_FILES = {**FILES, "entry.py": ROOT / "benchmarks" / "support" / "object_entry.py"}


@contextmanager
def open_isolates(say: Say) -> Iterator[Rig]:
    """Run workerd with the Workers ``first`` and ``second``, and ``objects``, which has Durable Objects.

    Raise CannotInstallError where it cannot be had.
    """
    say("starting workerd")
    workers = [Worker(name, FILES, meter=True) for name in ("first", "second")]
    rig = Rig(
        parse_setting(SETTING), [*workers, Worker("objects", OBJECT_FILES, meter=True, objects={"CHATS": "Chat"})]
    )
    rig.start()
    try:
        yield rig
    finally:
        rig.stop()


def prepare(rig: Rig) -> None:
    """Make the tables, and let both isolates do everything once, so that nothing is imported while it is measured."""
    rig.ask("first", "/tables", {}, timeout_s=MAX_ANSWER_S)
    for worker in ("first", "second"):
        for kind in ("ours", "javascript"):
            warm = {"kind": kind, "tokens": 20, "rate": 100, "followers": 1, "stream_id": f"warm-{worker}-{kind}"}
            rig.ask(worker, "/reply", warm, timeout_s=MAX_ANSWER_S)
            rig.ask(worker, "/follow", {"kind": kind, "stream_id": f"warm-{worker}-{kind}"}, timeout_s=MAX_ANSWER_S)


def reply_in_isolate(
    rig: Rig, kind: str, *, tokens: int, rate: float, followers: int, rtt_ms: float, stream_id: str
) -> Figures:
    """Run one reply in the first isolate, each of its calls to D1 taking ``rtt_ms`` longer; return all its figures."""
    rig.meter("first", rtt_ms)
    asked = {"kind": kind, "tokens": tokens, "rate": rate, "followers": followers, "stream_id": stream_id}
    answer = rig.ask("first", "/reply", asked, timeout_s=MAX_ANSWER_S)
    counted = rig.meter("first", 0)
    return {
        "statements": counted["statements"],
        "round_trips": counted["roundTrips"],
        "rows_read": counted["rowsRead"],
        "rows_written": counted["rowsWritten"],
        "seconds": round(answer["seconds"], 3),
        "behind_ms": round(answer["behind_ms"], 1),
        "added_ms": round(answer["added_ms"], 3),
    }


def resume_in_isolate(rig: Rig, kind: str, stream_id: str) -> Figures:
    """Read a stream that has ended in the second isolate, and return what the binding counted."""
    rig.meter("second", 0)
    rig.ask("second", "/follow", {"kind": kind, "stream_id": stream_id}, timeout_s=MAX_ANSWER_S)
    return _rows(rig.meter("second", 0))


def sweep_in_isolate(rig: Rig, kind: str, stream_id: str) -> Figures:
    """Remove a stream in the first isolate as one that has expired, and return what the binding counted."""
    rig.meter("first", 0)
    rig.ask("first", "/sweep", {"kind": kind, "stream_id": stream_id}, timeout_s=MAX_ANSWER_S)
    return _rows(rig.meter("first", 0))


def _rows(counted: Figures) -> Figures:
    return {"rows_read": counted["rowsRead"], "rows_written": counted["rowsWritten"]}


def turn_in_isolate(rig: Rig, messages: int, seen: int) -> Figures:
    """Store one turn after so many messages in the first isolate; return what the binding counted, and the bytes."""
    conversation = {"session_id": f"session-{messages:06}", "messages": messages}
    rig.ask("first", "/conversation", conversation, timeout_s=MAX_ANSWER_S)
    rig.meter("first", 0)
    answer = rig.ask("first", "/turn", {**conversation, "seen": seen}, timeout_s=MAX_ANSWER_S)
    counted = rig.meter("first", 0)
    return {
        "statements": counted["statements"],
        "round_trips": counted["roundTrips"],
        "rows_read": counted["rowsRead"],
        "rows_written": counted["rowsWritten"],
        "bytes": answer["bytes"],
    }


def follow_in_isolates(options: argparse.Namespace, say: Say) -> Result:
    """Produce in one isolate and follow in another."""
    found: dict[str, list[Figures]] = {"ours": [], "javascript": []}
    with open_isolates(say) as rig, ThreadPoolExecutor() as threads:
        prepare(rig)
        for number in range(options.rounds):
            for kind, figures in found.items():
                say(f"round {number + 1} of {options.rounds}: {kind}, isolate")
                stream_id = f"followed-{kind}-{number}"
                asked = {"kind": kind, "tokens": options.tokens, "rate": options.rate, "followers": 1}
                producing = threads.submit(
                    rig.ask, "first", "/reply", {**asked, "stream_id": stream_id}, timeout_s=MAX_ANSWER_S
                )
                rig.meter("second", 0)
                delays = rig.ask("second", "/follow", {"kind": kind, "stream_id": stream_id}, timeout_s=MAX_ANSWER_S)
                counted = rig.meter("second", 0)
                producing.result()
                if len(delays) != options.tokens:
                    raise AssertionError(f"{kind}: {len(delays)} tokens arrived, not {options.tokens}")
                figures.append({**delay_figures(delays), "statements": counted["statements"]})
    return Result(
        "follow",
        {name: getattr(options, name) for name in ("where", "tokens", "rate", "rounds")},
        median_figures(found["ours"]),
        {"javascript": median_figures(found["javascript"])},
    )


def import_in_isolate(say: Say) -> Figures:
    """Import aibind in a fresh isolate."""
    with open_isolates(say) as rig, rig.client("second", timeout_s=120) as client:
        answer = client.get("/import").json()
    return {"seconds": round(answer["seconds"], 4), "modules": answer["modules"]}
