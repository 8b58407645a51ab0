"""Rounds of turns that five processes run on one file at the same time, and the turns that are lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from aibind.sqlite import wrap_sqlite3
from tests.support.turn_process import make_store
from tests.support.turns import lost_turns

__all__ = ["PROCESSES", "TURNS", "Crowd", "Losses", "open_crowd"]

PROCESSES = 5
TURNS = 50

_Process: TypeAlias = "subprocess.Popen[str]"


@dataclass(slots=True)
class Losses:
    """What became of turns: ``lost`` are gone although they were saved, ``refused`` ended with an error."""

    turns: int = 0
    lost: int = 0
    refused: int = 0
    blind_turns: int = 0
    blind_lost: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])

    def add(self, names: Sequence[str], missing: Iterable[str], errors: Mapping[str, str]) -> None:
        """Count the turns of a round."""
        self.turns += len(names)
        self.lost += len(set(missing) - errors.keys())
        self.refused += len(errors)
        self.errors.update(re.sub('".*?"', "…", error) for error in errors.values())


class Crowd:
    """Processes with a client each on one file, kept from round to round."""

    def __init__(self, path: Path, processes: list[_Process]) -> None:
        self._path = path
        self._processes = processes

    async def play(self, store: str, rounds: int) -> Losses:
        """Run rounds of 50 turns on one new session each, with the same kind of store in every process."""
        losses = Losses()
        for number in range(rounds):
            session_id = f"{store} {number}"
            names = _names(PROCESSES)
            errors = self._run([[store, session_id, mine] for mine in names])
            await self._count(losses, store, session_id, names, errors)
        return losses

    async def play_beside_a_blind_writer(self, rounds: int) -> Losses:
        """Run our JSON store in four processes, beside one that replaces the row, a turn after another.

        A writer that takes one turn at a time cannot drop its turns itself, so those that are gone were dropped by us.
        """
        losses = Losses()
        for number in range(rounds):
            session_id = f"beside {number}"
            *ours, blind = _names(PROCESSES)
            jobs: list[list[object]] = [["conversations", session_id, mine] for mine in ours]
            errors = self._run([*jobs, ["blind", session_id, blind, True]])
            await self._count(losses, "conversations", session_id, ours, errors)
            losses.blind_turns += len(blind)
            losses.blind_lost += len(await self._missing("conversations", session_id, blind))
        return losses

    def _run(self, jobs: Sequence[list[object]]) -> dict[str, str]:
        for process, job in zip(self._processes, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        return {name: error for process in self._processes for name, error in json.loads(_answer(process)).items()}

    async def _count(
        self, losses: Losses, store: str, session_id: str, names: Sequence[list[str]], errors: Mapping[str, str]
    ) -> None:
        together = [name for mine in names for name in mine]
        losses.add(together, await self._missing(store, session_id, together), errors)

    async def _missing(self, store: str, session_id: str, names: list[str]) -> list[str]:
        async with wrap_sqlite3(self._path) as client:
            return lost_turns(await make_store(store, client).load(session_id), names)


def _names(processes: int) -> list[list[str]]:
    return [[f"{place}.{turn}" for turn in range(TURNS // PROCESSES)] for place in range(processes)]


@contextmanager
def open_crowd(path: Path) -> Iterator[Crowd]:
    """Start the processes on a file that has its tables."""
    command = [sys.executable, "-m", "tests.support.turn_process", str(path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert _answer(process) == "ready\n"
        yield Crowd(path, processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _answer(process: _Process) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"A process with turns ended: {process.wait()}"
    return line
