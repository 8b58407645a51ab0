"""Campaign: no turn is lost. ``python -m tests.turns [--rounds N] [file] [workerd]`` prints JSON lines.

``file``: 50 turns at the same time on one session, from five processes on one file; 100 rounds for each store.
``workerd``: 20 turns at the same time from two isolates, on D1 and KV; 20 rounds for each store. Without a name, both.
Beside ours, each runs what stores did before: a save that replaces what is stored. The command fails when a turn is
lost where none may be; KV promises nothing, and its lost turns are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from aibind.sqlite import migrate, wrap_sqlite3
from tests.processes.turns import Losses, open_crowd

FILE_ROUNDS = 100
WORKERD_ROUNDS = 20


async def play_on_a_file(rounds: int) -> bool:
    """Run the rounds on a SQLite file; return whether nothing was lost that must not be."""
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.db"
        async with wrap_sqlite3(path) as client:
            await migrate(client)
        with open_crowd(path) as crowd:
            for store in ("messages", "conversations", "blind"):
                began = time.monotonic()
                losses = await crowd.play(store, rounds)
                report("file", store, rounds, losses, began)
                fine &= store == "blind" or losses.lost == 0
            began = time.monotonic()
            losses = await crowd.play_beside_a_blind_writer(rounds)
            report("file", "conversations beside a blind writer", rounds, losses, began)
            fine &= losses.blind_lost == 0
    return fine


def play_in_workerd(rounds: int) -> bool:
    """Run the rounds in workerd; return whether nothing was lost that must not be."""
    from tests.workerd.turns import STORES, play
    from tests.workerd.workers import open_rig

    rig = open_rig("py314")
    rig.start()
    rig.ask("checks", "/empty")  # makes the tables
    fine = True
    try:
        for store in STORES:
            began = time.monotonic()
            losses = play(rig, store, rounds)
            report("workerd", store, rounds, losses, began)
            fine &= not store.endswith("on D1") or store.startswith("blind") or losses.lost == 0
    finally:
        rig.stop()
    return fine


def report(engine: str, store: str, rounds: int, losses: Losses, began: float) -> None:
    """Print one line of JSON."""
    figures = {"turns": losses.turns, "lost": losses.lost, "refused": losses.refused}
    if losses.blind_turns:
        figures |= {"turns of the blind writer": losses.blind_turns, "lost of these": losses.blind_lost}
    took_s = round(time.monotonic() - began, 1)
    print(json.dumps({"engine": engine, "store": store, "rounds": rounds, **figures, "s": took_s}), flush=True)
    for error, times in losses.errors.most_common(5):
        print(f"    {times} × {error}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.turns", description=__doc__)
    parser.add_argument("engines", nargs="*", choices=["file", "workerd", []], default=[])
    parser.add_argument("--rounds", type=int, help="rounds for each store, instead of 100 and 20")
    options = parser.parse_args()
    engines = options.engines or ["file", "workerd"]
    fine = True
    if "file" in engines:
        fine &= asyncio.run(play_on_a_file(options.rounds or FILE_ROUNDS))
    if "workerd" in engines:
        fine &= play_in_workerd(options.rounds or WORKERD_ROUNDS)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
