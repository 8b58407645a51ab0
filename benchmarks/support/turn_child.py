"""Stores turns: ``python -m benchmarks.support.turn_child COMMAND KIND FILE OPTIONS``, the options as JSON.

``prepare`` makes a file with conversations, and counts what a turn in a copy of it asks of SQLite. ``time`` times turns
in copies of it, ``first_token`` times them through our handler.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .chat import message
from .measure import percentile
from .sqlite_meter import metered
from .turn_stores import AS_SHIPPED, KEEPERS, Keeper

Options = dict[str, Any]

QUESTION, ANSWER = message(0), message(1)
WARM = "warm"
WARM_MESSAGES = 10
WARM_TURNS = 5


async def prepare(kind: str, path: Path, options: Options) -> dict[str, Any]:
    """Make the conversations, with a small one for warming up, and count a turn."""
    messages = [message(number) for number in range(options["messages"])]
    async with KEEPERS[kind](path, "OFF") as keeper:
        began = time.perf_counter()
        await keeper.fill(WARM, [message(number) for number in range(WARM_MESSAGES)])
        for number in range(options["sessions"]):
            await keeper.fill(session(number), messages)
    seconds = time.perf_counter() - began
    with copied(path) as copy:
        counts = await count(kind, copy, options)
    return {"fill_seconds": round(seconds, 3), "file_mb": round(path.stat().st_size / 1e6, 2), **counts}


async def measure(kind: str, path: Path, options: Options) -> dict[str, Any]:
    """Time turns, and with the settings that a yardstick comes with as well."""
    found = await measure_turns(kind, path, options, options["synchronous"])
    if kind in AS_SHIPPED:
        found["as_shipped"] = await measure_turns(kind, path, options, None)
    return found


async def measure_turns(kind: str, path: Path, options: Options, synchronous: str | None) -> dict[str, Any]:
    """Time turns, each session in its turn, and afterwards loads alone."""
    with copied(path) as copy:
        async with KEEPERS[kind](copy, synchronous) as keeper:
            await warm_up(keeper, options["limit"])
            turns = await repeat(options, lambda at: keeper.turn(at, options["limit"], QUESTION, ANSWER))
            loads = await repeat(options, lambda at: keeper.load(at, options["loaded"]))
    return {
        "p50_ms": round(percentile(turns, 50), 4),
        "p99_ms": round(percentile(turns, 99), 4),
        "load_p50_ms": round(percentile(loads, 50), 4),
        "turns": len(turns),
    }


async def repeat(options: Options, action: Callable[[str], Awaitable[object]]) -> list[float]:
    """Time an action on one session after another, until there are enough times or it took too long."""
    times: list[float] = []
    until = time.perf_counter() + options["limit_s"]
    gc.collect()
    for number in range(options["turns"]):
        if times and time.perf_counter() > until:
            break
        at = session(number % options["sessions"])
        began = time.perf_counter()
        await action(at)
        times.append((time.perf_counter() - began) * 1000)
    return times


async def count(kind: str, path: Path, options: Options) -> dict[str, Any]:
    """Count one turn, see what it wrote to the write-ahead log, and check that it is there."""
    expected = [message(number)["content"] for number in range(options["messages"])]
    with metered() as meter:
        async with KEEPERS[kind](path, options["synchronous"]) as keeper:
            await warm_up(keeper, options["limit"])
            # A reader of the log keeps it from being restarted, so that it grows by all that is written.
            with closing(sqlite3.connect(path)) as reader:
                sqlite3.Connection.execute(reader, "BEGIN")
                sqlite3.Connection.execute(reader, "SELECT count(*) FROM sqlite_schema").close()
                log = path.with_name(f"{path.name}-wal")
                size = log.stat().st_size
                before = meter.figures()
                await keeper.turn(session(0), options["limit"], QUESTION, ANSWER)
                found = {name: value - before[name] for name, value in meter.figures().items()}
                found["log_bytes"] = log.stat().st_size - size
            contents = await keeper.read(session(0))
    assert contents == [*expected, QUESTION["content"], ANSWER["content"]], f"{kind} has lost messages"
    return found


async def first_token(kind: str, path: Path, options: Options) -> dict[str, Any]:
    """Time the first token of turns through the endpoint that browsers use."""
    from .turn_served import ask, open_handler

    waits: list[float] = []
    with copied(path) as copy:
        async with open_handler(kind, copy, options["synchronous"], options["limit"]) as handler:
            for _ in range(WARM_TURNS):
                await ask(handler, WARM, QUESTION["content"])

            async def turn(at: str) -> None:
                waits.append(await ask(handler, at, QUESTION["content"]))

            await repeat(options, turn)
    return {"first_token_ms": round(percentile(waits, 50), 4)}


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Copy a file, and remove the copy."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        yield Path(shutil.copy(path, folder))


async def warm_up(keeper: Keeper, limit: int) -> None:
    """Let everything be imported, opened and compiled."""
    for _ in range(WARM_TURNS):
        await keeper.turn(WARM, limit, QUESTION, ANSWER)


def session(number: int) -> str:
    """Return the id of a session; all are of one length."""
    return f"session-{number:04}"


COMMANDS = {"prepare": prepare, "time": measure, "first_token": first_token}

if __name__ == "__main__":
    command, kind, path, options = sys.argv[1:]
    print(json.dumps(asyncio.run(COMMANDS[command](kind, Path(path), json.loads(options)))))
