"""The base of stream stores: everything that follows from six methods."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from .. import _observing
from .._time import now_ms, wait_for_event
from ..errors import PRODUCER_LOST, StreamNotActiveError, StreamNotFoundError
from .leases import grace_s
from .lost import give_up_lost
from .polling import PagePoller, PollBackoff, poll_pages
from .store import Pace, StreamChunk, StreamEnd, StreamInfo, StreamPage, StreamStatus
from .wakeups import WakeupSignals

__all__ = ["BaseStreamStore", "check_after_seq", "check_limit", "check_milliseconds"]

NOT_BEGUN = "The reply could not be begun: ask again, with another id for the request"
"""The error of a stream that was discarded, in a store that cannot remove it."""

PAST_EVERY_CHUNK = 2**31 - 1
"""A seq that no chunk reaches, which an index on a 32-bit platform still can hold."""


class BaseStreamStore(ABC):
    """A :class:`StreamStore` to derive from.

    A subclass writes ``create``, ``append_many``, ``read_page``, ``finish``, ``live_streams`` and ``cleanup``, each as
    the protocol describes it, and calls :meth:`wake_readers` after it has changed a stream. The rest follows from them;
    ``get_status`` and ``renew`` may be overridden where the store has a cheaper way, and ``discard`` where a single
    stream can be removed. Override ``request_stop`` and ``give_up`` where producers run in other processes: these stop
    a stream at once, and look before they give it up. To keep the answers of lost producers until they are in their
    conversations, override ``lost_streams`` and ``settle`` as well.

    ``flush_pace`` is how often to write, after what a write costs: ``Pace(0)`` stores each event before it is
    delivered, ``Pace(250, 2000)`` is right where each write is a round trip. ``lease_ms`` is how long a producer may be
    silent. Readers that are not woken poll after ``poll_interval_ms``, then ever less often; None means that every
    change wakes them. ``shares_wakeups`` is as in the protocol. ``shares_clock`` is whether all processes that use the
    store take the time from one clock; where they do not, a producer is judged by what changes while its readers watch.
    Raises ValueError for a time that is not above 0.
    """

    def __init__(
        self,
        *,
        flush_pace: Pace,
        lease_ms: int = 30_000,
        poll_interval_ms: int | None = 50,
        shares_wakeups: bool = True,
        shares_clock: bool = True,
    ) -> None:
        if poll_interval_ms is not None:
            check_milliseconds("poll_interval_ms", poll_interval_ms)
        check_milliseconds("lease_ms", lease_ms)
        self._flush_pace = flush_pace
        self._lease_ms = lease_ms
        self._poll_interval_s = None if poll_interval_ms is None else poll_interval_ms / 1000
        self._shares_wakeups = shares_wakeups
        self._shares_clock = shares_clock
        self._wakeups = WakeupSignals()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} lease_ms={self._lease_ms} flush_interval_ms={self._flush_pace.interval_ms:g}>"

    @property
    def flush_pace(self) -> Pace:
        """How often to write, after what a write costs here."""
        return self._flush_pace

    @property
    def lease_ms(self) -> int:
        """Milliseconds that a producer's lease lasts."""
        return self._lease_ms

    @property
    def grace_s(self) -> float:
        """Seconds that a producer whose lease has run out has to show progress.

        A tenth of the lease, or a whole one where the clocks of processes may differ.
        """
        return grace_s(self._lease_ms, shares_clock=self._shares_clock)

    @property
    def shares_wakeups(self) -> bool:
        """Whether tasks that use this store object may wake each other."""
        return self._shares_wakeups

    # --- what a subclass writes ---

    @abstractmethod
    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
    ) -> None:
        """Begin a stream, and its producer's lease. Raises StreamExistsError when the id is taken.

        ``session_id``, ``owner``, ``request``, ``question_id`` and the time belong into its :class:`StreamStatus`. The
        id of a stream that has expired is free.
        """

    @abstractmethod
    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        """Store chunks at the end, all or none, and return their seqs.

        Unless ``renew`` is overridden, this is called with no chunks to renew a lease.
        """

    @abstractmethod
    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page of what is stored past ``after_seq``, without waiting.

        Unless ``get_status`` is overridden, ``status.total_chunks`` must count all chunks, also past the page.
        """

    @abstractmethod
    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        """Store a stream's last chunks and its end in one transaction, and return how it really ended."""

    @abstractmethod
    async def live_streams(self, session_id: str) -> Sequence[str]:
        """Return the ids of a session's streams that are active and whose lease has not run out, oldest first.

        A store that does not record sessions returns none.
        """

    @abstractmethod
    async def cleanup(self) -> int:
        """Remove streams that have expired, ended or abandoned, and return how many.

        Wait for :attr:`grace_s` before removing an active stream, and keep it if it has new chunks by then.
        """

    # --- what a subclass uses ---

    def wake_readers(self, stream_id: str) -> None:
        """Let this store object's readers of a stream look at once. Call it after each change."""
        if self._shares_wakeups:
            self._wakeups.notify(stream_id)

    def make_poller(self, stream_id: str, wakeup: asyncio.Event) -> PagePoller:
        """Return how one reader polls: by default on each wake-up, and after ``poll_interval_ms`` backing off.

        Override it where changes can be noticed in another way. ``wakeup`` is set by :meth:`wake_readers`.
        """
        return _Poller(partial(self.read_page, stream_id), wakeup, self._poll_interval_s)

    # --- what follows ---

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store one chunk at the end and return its seq."""
        return (await self.append_many(stream_id, [chunk]))[0]

    async def renew(self, stream_id: str) -> bool:
        """Restart the producer's lease; return False when the stream has ended."""
        try:
            await self.append_many(stream_id, [], renew=True)
        except StreamNotActiveError:
            return False
        return True

    async def stop(self, stream_id: str) -> None:
        """End a stream as ``stopped``."""
        await self.finish(stream_id, StreamEnd("stopped"))

    async def request_stop(self, stream_id: str) -> StreamEnd | None:
        """End a stream as ``stopped``, and return how it has ended."""
        return await self.finish(stream_id, StreamEnd("stopped"))

    async def give_up(self, stream_id: str, *, lease: int | None = None) -> StreamEnd | None:
        """End a stream whose lease has run out as lost; return how it has ended, or None while its lease lasts."""
        status = await self.get_status(stream_id)
        if status is None:
            raise StreamNotFoundError(stream_id)
        if status.is_active and (status.expires_at > now_ms() if lease is None else status.expires_at != lease):
            return None
        if status.end is not None:
            return status.end
        if _observing.observer is not None:
            _observing.observer.note_takeover("ended")
        return await self.finish(stream_id, StreamEnd("error", PRODUCER_LOST))

    async def lost_streams(self, session_id: str | None = None) -> Sequence[StreamInfo]:  # noqa: ARG002
        """Return no streams: override this together with ``settle``, ``give_up`` and ``cleanup``."""
        return ()

    async def settle(self, stream_id: str) -> None:  # noqa: ARG002
        """Do nothing: a store that keeps no lost streams has none to let go."""
        return

    async def complete(self, stream_id: str) -> None:
        """End a stream as ``done``."""
        await self.finish(stream_id, StreamEnd("done"))

    async def fail(self, stream_id: str, error: str) -> None:
        """End a stream as ``error``, with a message for its readers."""
        await self.finish(stream_id, StreamEnd("error", error))

    async def discard(self, stream_id: str, *, request: str | None = None) -> None:
        """End a stream that was not begun: here it stays until it expires, and its id is taken until then."""
        status = await self.get_status(stream_id)
        if status is not None and request in (None, status.request):
            with suppress(StreamNotFoundError):
                await self.fail(stream_id, NOT_BEGUN)

    async def get_status(self, stream_id: str, *, owner: str | None = None) -> StreamStatus | None:
        """Return the current state of a stream, or None if it is unknown, or is not the ``owner``'s."""
        try:
            status = (await self.read_page(stream_id, PAST_EVERY_CHUNK)).status
        except StreamNotFoundError:
            return None
        return status if owner is None or status.owner == owner else None

    async def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamChunk]:
        """Yield the chunks past ``after_seq``, then those that arrive, until the stream ends."""
        async for page in self.read_pages(stream_id, after_seq):
            for chunk in page.chunks:
                yield chunk

    async def read_pages(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamPage]:
        """Yield the same in pages, the last of which has ``is_last``."""
        with self._wakeups.watch(stream_id) as wakeup:
            poller = self.make_poller(stream_id, wakeup)
            async for page in poll_pages(
                stream_id,
                poller,
                after_seq=after_seq,
                lease_ms=self._lease_ms,
                give_up=lambda lease: give_up_lost(self, stream_id, lease),
                shares_clock=self._shares_clock,
            ):
                yield page


class _Poller:
    def __init__(
        self, read_page: Callable[[int], Awaitable[StreamPage]], wakeup: asyncio.Event, poll_interval_s: float | None
    ) -> None:
        self._read_page = read_page
        self._wakeup = wakeup
        self._backoff = None if poll_interval_s is None else PollBackoff(poll_interval_s)

    async def read_page(self, after_seq: int) -> StreamPage:
        self._wakeup.clear()
        return await self._read_page(after_seq)

    async def wait(self, timeout_s: float, *, progressed: bool) -> None:
        if self._backoff is not None:
            timeout_s = min(timeout_s, self._backoff.next_wait_s(progressed=progressed))
        await wait_for_event(self._wakeup, timeout_s)


def check_after_seq(after_seq: int) -> None:
    """Raise ValueError for a negative position."""
    if after_seq < 0:
        raise ValueError(f"after_seq is {after_seq}: use 0 for the beginning, or the seq of the last chunk seen")


def check_limit(limit: int) -> None:
    """Raise ValueError for a number of streams below 1."""
    if limit < 1:
        raise ValueError(f"limit is {limit}: give 1 or more")


def check_milliseconds(name: str, value: int) -> None:
    """Raise ValueError for a time that is not above 0."""
    if value <= 0:
        raise ValueError(f"{name} is {value}: use a number of milliseconds above 0")
