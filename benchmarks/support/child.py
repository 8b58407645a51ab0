"""Other processes: run to their end, or talked to by lines of JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["ROOT", "Child", "ChildFailedError", "python", "run_child"]

ROOT = Path(__file__).parents[2]


class ChildFailedError(Exception):
    """Raised when a process of a benchmark ends early."""


def python(module: str, *arguments: object) -> list[str]:
    """Make the command line of a module of the benchmarks."""
    return [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]


def run_child(command: Sequence[str], *, timeout_s: float = 600, environment: Mapping[str, str] | None = None) -> Any:
    """Run a process to its end and return the JSON in its last line."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, env=environment)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise ChildFailedError(f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return json.loads(lines[-1])


class Child:
    """A process that exchanges lines of JSON with this one; killed at the end of the ``async with``."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=256 * 1024 * 1024,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.returncode is None:
            try:
                async with asyncio.timeout(0.5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def tell(self, value: Any) -> None:
        """Send a line."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, timeout_s: float = 120) -> Any:
        """Wait for its next line."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout_s):
            line = await self._process.stdout.readline()
        if not line:
            raise ChildFailedError(f"{' '.join(self._command[1:])} ended early, see above")
        return json.loads(line)
