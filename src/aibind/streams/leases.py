"""Deciding from a stream's lease and its progress when its producer is lost."""

from __future__ import annotations

import math

from .._time import now_ms

__all__ = ["MAX_WAIT_MS", "LeaseWatch", "grace_s"]

MAX_WAIT_MS = 30 * 24 * 60 * 60 * 1000
"""Milliseconds that the stream of a lost producer waits for its answer to be stored in its conversation."""


def grace_s(lease_ms: int) -> float:
    """Return the seconds that a producer whose lease has run out has to show progress: a tenth of the lease."""
    return lease_ms / 10_000


class LeaseWatch:
    """Decides for one reader when the producer of a stream counts as lost.

    It is lost when its lease has run out and nothing new has arrived for a tenth of a lease: a producer that never
    renews, such as a JavaScript one, is judged by its progress. A reader that was itself suspended past that time, as
    on a laptop that was closed, grants the tenth once more, since the producer may have been suspended with it. Times
    are in milliseconds since the epoch.
    """

    def __init__(self, lease_ms: int) -> None:
        self._grace_ms = math.ceil(lease_ms / 10)
        self.progress()

    def progress(self) -> None:
        """Record that something new has arrived."""
        self._progress_at = now_ms()
        self._due: int | None = None  # latest time for the next look
        self._excused = False

    def time_left_s(self, expires_at: int, looked_at: int) -> float | None:
        """Return the seconds within which to look again, or None if the producer is lost.

        Call it after each look that showed nothing past what is known. ``looked_at`` is when that look began: an
        answer that was slow to arrive shows nothing of what happened meanwhile.
        """
        if self._due is not None and looked_at > self._due + self._grace_ms / 2 and not self._excused:
            self._excused = True  # once: a machine that is always slow must not keep a lost producer alive
            self._progress_at = looked_at
        self._due = max(expires_at, self._progress_at + self._grace_ms)
        return None if looked_at >= self._due else max(0.0, (self._due - now_ms()) / 1000)
