"""Stores turns: ``python -m benchmarks.support.turn_child COMMAND OPTIONS``, the options as JSON.

``prepare`` makes a file with conversations, and counts what turns in a copy of it ask of SQLite. ``time`` times turns
of several contenders that take turns with each other, so that other load on the machine affects all of them alike.
``first_token`` times turns through our handler.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from .chat import message
from .measure import percentile
from .sqlite_meter import metered
from .turn_stores import KEEPERS, Keeper

Options = dict[str, Any]

QUESTION, ANSWER = message(0), message(1)
WARM = "warm"
WARM_MESSAGES = 10
WARM_TURNS = 5
COUNTED_TURNS = 20


async def prepare(options: Options) -> dict[str, Any]:
    """Make the conversations, with a small one for warming up, and count turns."""
    path = Path(options["path"])
    messages = [message(number) for number in range(options["messages"])]
    async with KEEPERS[options["kind"]](path, "OFF") as keeper:
        began = time.perf_counter()
        await keeper.fill(WARM, [message(number) for number in range(WARM_MESSAGES)])
        for number in range(options["sessions"]):
            await keeper.fill(session(number), messages)
        seconds = time.perf_counter() - began
    counts = await count(options)
    return {"fill_seconds": round(seconds, 3), "file_mb": round(path.stat().st_size / 1e6, 2), **counts}


async def count(options: Options) -> dict[str, Any]:
    """Count turns, see what they write to the write-ahead log, and check that one is there; return the means."""
    expected = [message(number)["content"] for number in range(options["messages"])]
    with copied(options["path"]) as path, metered() as meter:
        async with KEEPERS[options["kind"]](path, options["synchronous"]) as keeper:
            await warm_up(keeper, options["limit"])
            # A reader of the log keeps it from being restarted, so that it grows by all that is written.
            with closing(sqlite3.connect(path)) as reader:
                sqlite3.Connection.execute(reader, "BEGIN")
                sqlite3.Connection.execute(reader, "SELECT count(*) FROM sqlite_schema").close()
                log = path.with_name(f"{path.name}-wal")
                size = log.stat().st_size
                before = meter.figures()
                lane = Lane(keeper, {**options, "turns": min(options["turns"], COUNTED_TURNS)})
                while not lane.is_done():
                    await lane.turn()
                turns = len(lane.times)
                found = {name: _mean(value - before[name], turns) for name, value in meter.figures().items()}
                found["log_bytes"] = round((log.stat().st_size - size) / turns)
            contents = await keeper.read(session(0))
    said = [QUESTION["content"], ANSWER["content"]] * len(range(0, turns, options["sessions"]))
    assert contents == expected + said, f"{options['kind']} has lost messages"
    return found


class Lane:
    """A contender, and the times of what it did, in milliseconds; each time in the next of its sessions."""

    def __init__(self, keeper: Keeper, options: Options) -> None:
        self.times: list[float] = []
        self._keeper = keeper
        self._options = options
        self._turns: int = options["turns"]
        self._limit_ms: float = options["limit_s"] * 1000

    async def turn(self) -> None:
        """Store a turn."""
        at = self._next()
        began = time.perf_counter()
        await self._keeper.turn(at, self._options["limit"], QUESTION, ANSWER)
        self.times.append((time.perf_counter() - began) * 1000)

    async def load(self) -> None:
        """Load."""
        at = self._next()
        began = time.perf_counter()
        await self._keeper.load(at, self._options["loaded"])
        self.times.append((time.perf_counter() - began) * 1000)

    def is_done(self) -> bool:
        """Whether there are enough times, or they took too long."""
        return len(self.times) >= self._turns or sum(self.times) > self._limit_ms

    def _next(self) -> str:
        return session(len(self.times) % self._options["sessions"])


async def measure(options: Options) -> dict[str, Any]:
    """Time turns, and afterwards loads alone, of one group of contenders after the other."""
    found: dict[str, Any] = {}
    for group in options["groups"]:
        async with AsyncExitStack() as stack:
            keepers: dict[str, Keeper] = {}
            for name, lane in group.items():
                path = stack.enter_context(copied(lane["path"]))
                keepers[name] = await stack.enter_async_context(KEEPERS[lane["kind"]](path, lane["synchronous"]))
                await warm_up(keepers[name], lane["limit"])
            gc.collect()
            gc.freeze()  # what one contender brought along must not burden the others
            turns = await alternate({name: Lane(keepers[name], lane) for name, lane in group.items()}, Lane.turn)
            loads = await alternate({name: Lane(keepers[name], lane) for name, lane in group.items()}, Lane.load)
        for name in group:
            found[name] = {
                "p50_ms": round(percentile(turns[name], 50), 4),
                "p99_ms": round(percentile(turns[name], 99), 4),
                "load_p50_ms": round(percentile(loads[name], 50), 4),
                "turns": len(turns[name]),
            }
    return found


async def alternate(lanes: dict[str, Lane], action: Callable[[Lane], Awaitable[None]]) -> dict[str, list[float]]:
    """Let all lanes act, each time in another order, until each has enough times; return the times of each."""
    going = list(lanes.values())
    while going:
        random.shuffle(going)  # what one leaves to the disk strikes the next
        for lane in going:
            await action(lane)
        going = [lane for lane in going if not lane.is_done()]
    return {name: lane.times for name, lane in lanes.items()}


async def first_token(options: Options) -> dict[str, Any]:
    """Time the first token of turns through the endpoint that browsers use."""
    from .turn_served import ask, open_handler

    waits: list[float] = []
    with copied(options["path"]) as path:
        async with open_handler(options["kind"], path, options["synchronous"], options["limit"]) as handler:
            for _ in range(WARM_TURNS):
                await ask(handler, WARM, QUESTION["content"])
            until = time.perf_counter() + options["limit_s"]
            while not waits or (len(waits) < options["turns"] and time.perf_counter() < until):
                at = session(len(waits) % options["sessions"])
                waits.append(await ask(handler, at, QUESTION["content"]))
    return {"first_token_ms": round(percentile(waits, 50), 4)}


@contextmanager
def copied(path: str) -> Iterator[Path]:
    """Copy a file, and remove the copy."""
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        yield Path(shutil.copy(path, folder))


def _mean(total: int, count: int) -> float:
    return total // count if total % count == 0 else round(total / count, 1)


async def warm_up(keeper: Keeper, limit: int) -> None:
    """Let everything be imported, opened and compiled."""
    for _ in range(WARM_TURNS):
        await keeper.turn(WARM, limit, QUESTION, ANSWER)


def session(number: int) -> str:
    """Return the id of a session; all are of one length."""
    return f"session-{number:04}"


COMMANDS = {"prepare": prepare, "time": measure, "first_token": first_token}

if __name__ == "__main__":
    command, told = sys.argv[1:]
    print(json.dumps(asyncio.run(COMMANDS[command](json.loads(told)))))
