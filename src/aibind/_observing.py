"""The one observer of replies and streams, for telemetry; nobody by default.

Where something may be observed, the code asks whether there is an observer, once for a reply, a write or a follower.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

__all__ = ["Observer", "observer", "set_observer"]


class Observer(Protocol):
    """What is told of replies and streams. Its methods return at once, and raise nothing."""

    def reply(self, events: AsyncGenerator[Any], request: Any, model: object) -> AsyncGenerator[Any]:
        """Return the events of a model's answer to a request, which pass through unchanged."""
        ...

    def begin_stream(self, stream_id: str) -> None:
        """Note that the current task produces a stream."""
        ...

    def note_flush(self, chunks: int, chars: int, seconds: float) -> None:
        """Note a write of chunks to the store, and how long it took."""
        ...

    def note_lost_lease(self, reason: str) -> None:
        """Note that a producer of this process was refused: ``ended``, ``removed`` or ``conflict``."""
        ...

    def note_takeover(self, outcome: str) -> None:
        """Note that this process ``ended`` a stream whose producer was lost, or ``continued`` it."""
        ...

    def note_lag(self, chars: int) -> None:
        """Note how many characters had gathered when a follower read them."""
        ...


observer: Observer | None = None
"""The observer, or None. It is read where it is used, as ``_observing.observer``."""


def set_observer(new: Observer | None) -> None:
    """Make ``new`` the observer of this process, in place of the one before."""
    global observer
    observer = new
