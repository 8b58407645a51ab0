"""When a writer flushes, checks that its stream is active, and renews its lease."""

from __future__ import annotations

from .buffer import MAX_CHUNK_CHARS
from .store import Pace

__all__ = ["LOCAL_IDLE_S", "REMOTE_IDLE_S", "WriteSchedule"]

EVENT_WAIT_S = 0.05
"""Seconds until a named event is stored: often another reader is waiting for it."""

LOCAL_IDLE_S = 0.25
REMOTE_IDLE_S = 1.0
"""Seconds between two checks whether the stream was stopped, while nothing is written: fewer where a check costs."""


class WriteSchedule:
    """The times of one writer's next operations, in seconds by the clock of its event loop."""

    def __init__(self, pace: Pace, *, lease_s: float, idle_s: float) -> None:
        self._pace = pace
        self._lease_s = lease_s
        self._idle_s = idle_s
        self._began = self._leased = 0.0
        self._last_flush: float | None = None
        self._event_since: float | None = None  # when the oldest unsaved named event arrived
        self._event_flush = float("-inf")  # when one was flushed last

    def begin(self, now: float) -> None:
        """Begin a stream and its lease."""
        self._began = self._leased = now

    def note_event(self, now: float) -> None:
        """Note a named event that is to be stored."""
        if self._event_since is None:
            self._event_since = now

    def note_flush(self, now: float) -> None:
        """Note a flush of everything that is unsaved."""
        self._last_flush = now
        if self._event_since is not None:
            self._event_since, self._event_flush = None, now

    def note_renewal(self, now: float) -> None:
        """Note that the lease was renewed."""
        self._leased = now

    def flush_due(self, unsaved_chars: int) -> float:
        """Return when to flush what is unsaved."""
        if self._last_flush is None or unsaved_chars >= MAX_CHUNK_CHARS:
            return 0.0
        due = self._last_flush + self._pace.delay_s(self._last_flush - self._began)
        if self._event_since is None or self._event_flush + self._pace.delay_s(0) > self._event_since:
            return due
        return min(due, self._event_since + EVENT_WAIT_S)

    def check_due(self, asked: float, now: float) -> float:
        """Return when to check the stream, of which nothing is unsaved since ``asked``."""
        idle_s = max(self._idle_s, self._pace.delay_s(now - self._began))
        return min(asked + idle_s, self._renewal_due)

    def must_renew(self, now: float) -> bool:
        """Return whether half of the lease has passed."""
        return now >= self._renewal_due

    @property
    def _renewal_due(self) -> float:
        return self._leased + self._lease_s / 2
