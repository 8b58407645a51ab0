"""Faults as networks and databases have them, by chance and repeatable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, get_args

from .._time import sleep
from ..errors import OverloadedError, TransientError

__all__ = ["Fault", "Faults"]

Fault: TypeAlias = Literal["before", "after", "late", "delay", "duplicate", "drop", "overload"]
"""A fault that strikes a call, see :class:`Faults`."""

_KINDS: tuple[Fault, ...] = get_args(Fault)

_LOST = "Network connection lost"
_OVERLOADED = "The database is overloaded: requests queued for too long"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Strike:
    """The fault of one call, and the delays before and after its effect, in seconds."""

    fault: Fault | None
    before_s: float
    after_s: float


class Faults:
    """A source of faults for the calls of one client, the same for the same ``seed``.

    A call is struck with probability ``rate`` by one of ``kinds`` (by default any):

    - ``before``: it fails with TransientError and has no effect.
    - ``after``: it takes effect and fails, since the answer is lost.
    - ``late``: it fails at once, and takes effect afterwards.
    - ``delay``: it takes effect late and is answered later still.
    - ``duplicate``: it takes effect, and a second time afterwards. The first answer is returned.
    - ``drop``: it has no effect, and fails after ``timeout_s`` seconds of silence.
    - ``overload``: it fails with OverloadedError, whose ``retry_after_s`` is the option, and has no effect.

    Each delay is random, at most ``max_delay_s`` seconds. A call that only reads is never late and never duplicated: it
    fails before its effect, or passes. ``latency_s`` is added to every call. ``script`` has the faults of the first
    calls that write, one each (None: none); chance strikes the others.

    While :attr:`down` is true, every call fails before its effect. Calls wait between :meth:`pause` and
    :meth:`resume`. Which fault strikes depends on the number of the call alone: give each task a client with separate
    faults where the same seed must give the same run.

    Raises ValueError for a ``rate`` that is not between 0 and 1, a negative time, and an unknown or missing kind.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        rate: float = 0.0,
        kinds: Collection[Fault] = _KINDS,
        script: Iterable[Fault | None] = (),
        max_delay_s: float = 0.05,
        timeout_s: float = 1.0,
        latency_s: float = 0.0,
        retry_after_s: float | None = None,
    ) -> None:
        from random import Random  # here, since a Worker has no randomness while it starts

        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate}: give a probability between 0 and 1")
        times = {"max_delay_s": max_delay_s, "timeout_s": timeout_s, "latency_s": latency_s}
        for name, value in times.items():
            if value < 0:
                raise ValueError(f"{name} is {value}: give 0 or more seconds")
        self._script: list[Fault | None] = list(script)
        self._kinds: list[Fault] = [kind for kind in _KINDS if kind in kinds]
        unknown = {*kinds, *filter(None, self._script)} - {*_KINDS}
        if unknown or not self._kinds:
            raise ValueError(f"Unknown or no faults {sorted(unknown)}: choose from {', '.join(_KINDS)}")
        self.down = False
        """Whether every call fails before its effect, as while a server is away."""
        self.calls = 0
        """The number of calls so far."""
        self.struck: Counter[Fault] = Counter()
        """The number of times that each fault has struck."""
        self._seed = seed
        self._random = Random(seed)
        self._rate = rate
        self._max_delay_s = max_delay_s
        self._timeout_s = timeout_s
        self._latency_s = latency_s
        self._retry_after_s = retry_after_s
        self._running = asyncio.Event()
        self._running.set()
        self._pending: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Faults seed={self._seed} rate={self._rate:g} calls={self.calls} struck={dict(self.struck)}>"

    def pause(self) -> None:
        """Let calls wait from now on."""
        self._running.clear()

    def resume(self) -> None:
        """Let the calls that wait go on, and those that come."""
        self._running.set()

    async def wait_settled(self) -> None:
        """Wait for what still takes effect late or a second time; call this before closing the client."""
        while self._pending:
            await asyncio.wait(self._pending)

    async def call(
        self,
        operation: Callable[[], Awaitable[_T]],
        *,
        writes: bool = True,
        lost: Callable[[str], Exception] = TransientError,
        overloaded: Callable[[str], Exception] = OverloadedError,
    ) -> _T:
        """Call ``operation``, which talks to a database, with the next fault, and return its result.

        ``writes`` is whether it changes anything. ``lost`` and ``overloaded`` make the errors to raise. Cancelling the
        call does not undo what has taken effect, nor stop what takes effect afterwards.
        """
        self.calls += 1
        strike = self._next(writes=writes)
        if strike.fault is not None:
            self.struck[strike.fault] += 1
        await self._running.wait()
        if self._latency_s:
            await sleep(self._latency_s)
        if self.down:
            raise lost(_LOST)
        match strike.fault:
            case "before":
                raise lost(_LOST)
            case "drop":
                await sleep(self._timeout_s)
                raise lost(_LOST)
            case "overload":
                error = overloaded(_OVERLOADED)
                if isinstance(error, OverloadedError):
                    error.retry_after_s = self._retry_after_s
                raise error
            case "late":
                self._run_later(operation, strike.before_s)
                raise lost(_LOST)
            case "delay":
                await sleep(strike.before_s)
                result = await operation()
                await sleep(strike.after_s)
                return result
            case "duplicate":
                result = await operation()
                self._run_later(operation, strike.after_s)
                return result
            case "after":
                await operation()
                raise lost(_LOST)
            case None:
                return await operation()

    def _next(self, *, writes: bool) -> _Strike:
        # As many random numbers for every call, so that its fault depends on its number alone.
        strikes = self._random.random() < self._rate
        kind = self._random.choice(self._kinds)
        before_s, after_s = (self._random.random() * self._max_delay_s for _ in range(2))
        fault: Fault | None = kind if strikes else None
        if writes and self._script:
            fault = self._script.pop(0)
        if not writes and fault == "late":
            fault = "before"
        if not writes and fault == "duplicate":
            fault = None
        return _Strike(fault, before_s, after_s)

    def _run_later(self, operation: Callable[[], Awaitable[object]], delay_s: float) -> None:
        async def run() -> None:
            await sleep(delay_s)
            # What it was refused with, such as a constraint, is told to nobody, as on a network.
            await asyncio.gather(operation(), return_exceptions=True)

        task = asyncio.create_task(run(), name="aibind call that takes effect late")
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
