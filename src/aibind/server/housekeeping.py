"""Housekeeping: lost answers are recovered and expired streams removed, regularly and by one process at a time."""

from __future__ import annotations

import asyncio
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable

from .._logging import log_fields
from .._time import Timer, call_later, now_ms, timeout
from ..conversations.store import ConversationStore
from ..errors import AibindError, StreamExistsError
from ..streams.store import StreamStore

__all__ = ["CLAIM_ID", "HOUSEKEEPING_INTERVAL_S", "Housekeeping", "sweep"]

CLAIM_ID = "aibind housekeeping"
"""The id of the stream that a process holds while it sweeps."""

HOUSEKEEPING_INTERVAL_S = 60.0
"""Seconds between two rounds of housekeeping, by default."""

CONVERSATIONS_INTERVAL_S = 3600.0
"""Seconds between two searches for expired conversations: some stores read a whole table for it."""

MAX_AT_ONCE = 8
"""The limit of the conversations whose answers are recovered at the same time."""

FAREWELL_S = 2.0
"""Seconds that giving the claim back may take."""

logger = logging.getLogger("aibind")


async def sweep(streams: StreamStore, recover: Callable[[str], Awaitable[object]] | None) -> int:
    """Remove expired streams, and return how many; then recover the answers of lost producers.

    The streams of lost producers are given up together first, so that the wait for signs of life is one for all.
    """
    removed = await streams.cleanup()
    if recover is not None:
        lost = [one.status.session_id for one in await streams.lost_streams()]
        await _recover_all(dict.fromkeys(session_id for session_id in lost if session_id is not None), recover)
    return removed


async def _recover_all(session_ids: Iterable[str], recover: Callable[[str], Awaitable[object]]) -> None:
    waiting = iter(session_ids)

    async def recover_next() -> None:
        for session_id in waiting:
            try:
                await recover(session_id)
            except AibindError:
                logger.exception(
                    "The answers of lost producers in conversation %s could not be recovered",
                    session_id,
                    extra=log_fields("session.recovery_failed", session_id=session_id),
                )

    await asyncio.gather(*(recover_next() for _ in range(MAX_AT_ONCE)))


class Housekeeping:
    """Calls ``sweep`` every ``interval_s`` seconds, give or take a quarter at random (None: never).

    The first time is past the lease of streams that a killed server left. Of the processes that use a store, one sweeps
    at a time: it holds a stream, which cannot be created twice, and whose lease tells when it was killed. On a Worker,
    which has no time between requests, nothing is done: a cron trigger is to call ``sweep``.
    """

    def __init__(
        self,
        streams: StreamStore | None,
        conversations: ConversationStore | None,
        sweep: Callable[[], Awaitable[object]],
        interval_s: float | None,
    ) -> None:
        if interval_s is not None and interval_s <= 0:
            raise ValueError(f"housekeeping_interval_s is {interval_s}: use a number of seconds above 0, or None")
        self._streams = streams
        self._conversations = conversations
        self._sweep = sweep
        self._interval_s = None if sys.platform == "emscripten" else interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._conversations_at: float | None = None

    def start(self) -> None:
        """Begin, unless it has begun in this event loop."""
        if self._interval_s is None or self._streams is None:
            return
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._schedule(1.25 * self._streams.lease_ms / 1000, self._interval_s / 4)

    async def stop(self) -> None:
        """Stop for good, in the middle of a sweep too."""
        self._interval_s = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _schedule(self, delay_s: float, jitter_s: float) -> None:
        import random  # here: importing it seeds a generator, and a Worker has no randomness while it starts

        # A timer and no task, so that a handler that is dropped takes its housekeeping along.
        self._timer = call_later(delay_s + jitter_s * random.random(), _begin, weakref.ref(self))

    def begin(self) -> None:
        """Sweep now, in a task."""
        assert self._streams is not None
        self._task = asyncio.create_task(self._run(self._streams), name="aibind housekeeping")

    async def _run(self, streams: StreamStore) -> None:
        try:
            await self._sweep_alone(streams)
        except Exception:
            logger.exception("The stores could not be swept", extra=log_fields("sweep.failed"))
        if self._interval_s is not None:
            self._schedule(0.75 * self._interval_s, self._interval_s / 2)

    async def _sweep_alone(self, streams: StreamStore) -> None:
        claiming = asyncio.ensure_future(_claim(streams))
        try:
            if await asyncio.shield(claiming):
                await self._sweep_and_renew(streams)
        finally:
            await _give_back(streams, claiming)

    async def _sweep_and_renew(self, streams: StreamStore) -> None:
        sweeping = asyncio.ensure_future(self._sweep_all())
        try:
            while not sweeping.done():
                try:
                    async with timeout(streams.lease_ms / 2000):
                        await asyncio.wait([sweeping])
                except TimeoutError:
                    await streams.renew(CLAIM_ID)
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
        sweeping.result()

    async def _sweep_all(self) -> None:
        await self._sweep()
        now = asyncio.get_running_loop().time()
        cleanup = getattr(self._conversations, "cleanup", None)
        if cleanup is None or (self._conversations_at is not None and now < self._conversations_at):
            return
        self._conversations_at = now + CONVERSATIONS_INTERVAL_S
        await cleanup()


def _begin(found: weakref.ref[Housekeeping]) -> None:
    housekeeping = found()
    if housekeeping is not None:
        housekeeping.begin()


async def _claim(streams: StreamStore) -> bool:
    """Take the claim, and return whether that was possible; take it from a process that was killed."""
    try:
        await streams.create(CLAIM_ID)
    except StreamExistsError:
        status = await streams.get_status(CLAIM_ID)
        if status is not None and status.is_active and status.expires_at + streams.lease_ms < now_ms():
            await streams.discard(CLAIM_ID)
        return False  # until the next time
    return True


async def _give_back(streams: StreamStore, claiming: asyncio.Future[bool]) -> None:
    """Remove the claim if it was, or is being, taken: a statement under way cannot be taken back."""
    try:
        async with timeout(FAREWELL_S):
            await asyncio.wait([claiming])
            if claiming.exception() is None and claiming.result():
                await streams.discard(CLAIM_ID)
    except (AibindError, TimeoutError):
        logger.warning(
            "No process can sweep until the lease of this one has run out",
            exc_info=True,
            extra=log_fields("sweep.claim_kept"),
        )
