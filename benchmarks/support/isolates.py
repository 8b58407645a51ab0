"""Benchmarks inside workerd: two isolates with Python, over one D1 database whose binding counts and can be slowed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .child import MissingError
from .measure import delay_figures, median_figures
from .result import Figures, Result, Say

__all__ = ["RigMissingError", "follow_in_isolates", "import_in_isolate", "open_isolates", "reply_in_isolate"]

PYTHON = "py314"
HERE = Path(__file__).parent
FILES = {
    "entry.py": HERE / "isolate_entry.py",
    "benchmarks/__init__.py": HERE.parent / "__init__.py",
    **{f"benchmarks/support/{name}.py": HERE / f"{name}.py" for name in ("__init__", "clocked", "reply", "seed")},
}


class RigMissingError(MissingError):
    """Tells that there is no workerd here."""


@contextmanager
def open_isolates(say: Say) -> Iterator[Any]:
    """Run workerd with two Workers, ``first`` and ``second``, and give the tests' rig around it."""
    try:
        from tests.workerd.bundle import PYTHONS
        from tests.workerd.install import CannotInstallError
        from tests.workerd.rig import Rig
    except ImportError as error:
        raise RigMissingError(f"The workerd rig is in tests/, which is not here ({error})") from error

    class BenchmarkRig(Rig):
        def build_workers(self) -> list[dict[str, Any]]:
            folder = self.build("benchmarks", FILES)
            return [{"name": name, "build": folder, "meter": True} for name in ("first", "second")]

        def ask_long(self, worker: str, path: str, body: object) -> Any:
            with self.client(worker, timeout_s=1200) as client:
                response = client.post(path, json=body)
            if response.status_code != 200:
                raise AssertionError(f"{response.status_code}: {response.text}\n{self.log()}")
            return response.json()

    say("starting workerd")
    try:
        rig = BenchmarkRig(PYTHONS[PYTHON])
        rig.start()
    except CannotInstallError as error:
        raise RigMissingError(str(error)) from error
    try:
        yield rig
    finally:
        rig.stop()


def prepare(rig: Any) -> None:
    """Make the tables, and let both isolates do everything once, so that nothing is imported while it is measured."""
    rig.ask_long("first", "/tables", {})
    for worker in ("first", "second"):
        for kind in ("ours", "seed"):
            warm = {"kind": kind, "tokens": 20, "rate": 100, "followers": 1, "stream_id": f"warm-{worker}-{kind}"}
            rig.ask_long(worker, "/reply", warm)
            rig.ask_long(worker, "/follow", {"kind": kind, "stream_id": f"warm-{worker}-{kind}"})


def reply_in_isolate(
    rig: Any, kind: str, *, tokens: int, rate: float, followers: int, rtt_ms: float, stream_id: str
) -> Figures:
    """Run one reply in the first isolate, each of its calls to D1 taking ``rtt_ms`` longer; return all its figures."""
    rig.meter("first", rtt_ms)
    asked = {"kind": kind, "tokens": tokens, "rate": rate, "followers": followers, "stream_id": stream_id}
    answer = rig.ask_long("first", "/reply", asked)
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


def follow_in_isolates(options: argparse.Namespace, say: Say) -> Result:
    """Produce in one isolate and follow in another."""
    found: dict[str, list[Figures]] = {"ours": [], "seed": []}
    with open_isolates(say) as rig, ThreadPoolExecutor() as threads:
        prepare(rig)
        for number in range(options.rounds):
            for kind, figures in found.items():
                say(f"round {number + 1} of {options.rounds}: {kind}, isolate")
                stream_id = f"followed-{kind}-{number}"
                asked = {"kind": kind, "tokens": options.tokens, "rate": options.rate, "followers": 1}
                producing = threads.submit(rig.ask_long, "first", "/reply", {**asked, "stream_id": stream_id})
                rig.meter("second", 0)
                delays = rig.ask_long("second", "/follow", {"kind": kind, "stream_id": stream_id})
                counted = rig.meter("second", 0)
                producing.result()
                if len(delays) != options.tokens:
                    raise AssertionError(f"{kind}: {len(delays)} tokens arrived, not {options.tokens}")
                figures.append({**delay_figures(delays), "statements": counted["statements"]})
    return Result(
        "follow",
        {name: getattr(options, name) for name in ("where", "tokens", "rate", "rounds")},
        median_figures(found["ours"]),
        {"seed": median_figures(found["seed"])},
    )


def import_in_isolate(say: Say) -> Figures:
    """Import aibind in a fresh isolate."""
    with open_isolates(say) as rig, rig.client("second", timeout_s=120) as client:
        answer = client.get("/import").json()
    return {"seconds": round(answer["seconds"], 4), "modules": answer["modules"]}
