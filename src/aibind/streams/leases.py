"""Deciding from a stream's lease and its progress when its producer is lost."""

from __future__ import annotations

import math

from .._time import now_ms
from .store import StreamStatus

__all__ = ["MAX_WAIT_MS", "LeaseWatch", "grace_s", "has_run_out"]

MAX_WAIT_MS = 30 * 24 * 60 * 60 * 1000
"""Milliseconds that the stream of a lost producer waits for its answer to be stored in its conversation."""

MAX_LEASE_MS = 3_600_000
"""Milliseconds ahead of which a lease is believed, unless ten of the reader's leases are longer: beyond that, the clock
of the producer was wrong. What a JavaScript producer writes is no lease, and may lie as far ahead as it likes."""


def grace_s(lease_ms: int, *, shares_clock: bool = True) -> float:
    """Return the seconds that a producer whose lease has run out has to show progress.

    A tenth of the lease where all read one clock, and a whole lease, in which a live producer renews it, elsewhere: the
    reader's own clock may be ahead of the producer's.
    """
    return lease_ms / 10_000 if shares_clock else lease_ms / 1000


def has_run_out(status: StreamStatus, now: int, lease_ms: int) -> bool:
    """Return whether a lease has run out, or lies so far ahead that it is not believed.

    JavaScript producers do not record when they created a stream.
    """
    is_far = status.created_at is not None and status.expires_at > now + max(MAX_LEASE_MS, 10 * lease_ms)
    return is_far or status.expires_at <= now


class LeaseWatch:
    """Decides for one reader when the producer of a stream counts as lost.

    It is lost when its lease has run out, and for ``grace_s`` neither has anything new arrived nor the lease been
    renewed: a producer that never renews, such as a JavaScript one, is judged by its progress, and one by another clock
    by its renewals. A reader that was itself suspended past that time, as on a laptop that was closed, grants it a
    tenth of a lease more, since the producer may have been suspended with it. Times are in milliseconds since the
    epoch, by this process's steady clock.
    """

    def __init__(self, lease_ms: int, grace_s: float) -> None:
        self._lease_ms = lease_ms
        self._grace_ms = math.ceil(grace_s * 1000)
        self._lease: int | None = None
        self.progress()

    def progress(self) -> None:
        """Record that something new has arrived."""
        self._progress_at = now_ms()
        self._due: int | None = None  # latest time for the next look
        self._excused = False

    def time_left_s(self, status: StreamStatus, looked_at: int) -> float | None:
        """Return the seconds within which to look again, or None if the producer is lost.

        Call it after each look that showed nothing past what is known. ``looked_at`` is when that look began: an
        answer that was slow to arrive shows nothing of what happened meanwhile.
        """
        expires_at = status.expires_at
        if expires_at != self._lease:
            if self._lease is not None:
                self.progress()
            self._lease = expires_at
        tenth_ms = math.ceil(self._lease_ms / 10)
        if self._due is not None and looked_at > self._due + tenth_ms / 2 and not self._excused:
            self._excused = True  # once: a machine that is always slow must not keep a lost producer alive
            self._progress_at = looked_at - self._grace_ms + tenth_ms
        if not has_run_out(status, self._progress_at, self._lease_ms):
            self._due = max(expires_at, self._progress_at + self._grace_ms)
        elif expires_at > self._progress_at:
            self._due = self._progress_at + self._lease_ms + tenth_ms
        else:
            self._due = self._progress_at + self._grace_ms
        return None if looked_at >= self._due else max(0.0, (self._due - now_ms()) / 1000)
