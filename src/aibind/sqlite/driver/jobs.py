"""Jobs: calls that travel from an event loop to the thread that runs them, and back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ...errors import SqliteError
from ..client import SqliteResult
from .sql import Kind, Step

__all__ = ["Job", "Mailbox", "post_all"]


@dataclass(slots=True, eq=False)
class Job:
    """One call: its statements, where they may run, and finally their results or an error.

    ``call``, when set, runs instead of statements. ``since`` is when it was submitted, by the monotonic clock.
    """

    steps: tuple[Step, ...]
    kind: Kind
    future: asyncio.Future[list[SqliteResult]]
    mailbox: Mailbox
    call: Callable[[], None] | None = None
    results: list[SqliteResult] = field(default_factory=list[SqliteResult])
    error: SqliteError | None = None
    since: float = field(default_factory=time.monotonic)

    def settle(self) -> None:
        """Resolve the caller's future; runs on the caller's loop."""
        if self.future.done():  # cancelled meanwhile, which does not undo the call
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.results)


class Mailbox:
    """A queue that delivers finished jobs to one event loop.

    The loop is woken once for all jobs that finish before it runs. No lock is needed: ``post`` appends before it reads
    the flag, and ``_deliver`` clears the flag before it empties the queue, so no job is left behind.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._finished: deque[Job] = deque()
        self._woken = False

    @property
    def is_closed(self) -> bool:
        """Whether the loop is closed, so that no caller can be waiting."""
        return self._loop.is_closed()

    def post(self, jobs: Iterable[Job]) -> None:
        """Deliver finished jobs; may be called from any thread."""
        self._finished.extend(jobs)
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop was closed, so no caller is waiting
            self._finished.clear()

    def _deliver(self) -> None:
        self._woken = False
        finished = self._finished
        while finished:
            finished.popleft().settle()


def post_all(jobs: list[Job]) -> None:
    """Deliver a group of finished jobs, each to its own loop, with one wake-up per loop."""
    first = jobs[0].mailbox
    if all(job.mailbox is first for job in jobs):
        first.post(jobs)
        return
    boxes: dict[Mailbox, list[Job]] = {}
    for job in jobs:
        boxes.setdefault(job.mailbox, []).append(job)
    for mailbox, group in boxes.items():
        mailbox.post(group)
