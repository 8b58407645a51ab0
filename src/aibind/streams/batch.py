"""Batches of events, in which followers read a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .events import StreamEvent
from .store import StreamEnd

__all__ = ["EventBatch"]

_T = TypeVar("_T")


@dataclass(slots=True)  # not frozen: one is made for each token, and freezing doubles what that takes
class EventBatch:
    """Consecutive events of a stream. Do not change it: followers share it.

    ``events`` holds each event with the id of the position after it: a reader that comes back with that id continues
    with the next event. ``after`` is the id before the whole batch, and ``position`` the one after it. ``end`` is set
    in the last batch only. A batch without events and without an end means that the stream has been silent for the time
    the follower asked for.

    Followers of one process at the same position receive the same batch object, so work on a batch can be shared: see
    :meth:`share`.
    """

    events: tuple[tuple[int, StreamEvent], ...]
    after: int
    position: int
    end: StreamEnd | None = None
    shared: dict[object, Any] = field(default_factory=dict[object, Any], init=False, repr=False, compare=False)

    @classmethod
    def silent(cls, position: int, end: StreamEnd | None = None) -> EventBatch:
        """Return a batch without events, at a position."""
        return cls((), position, position, end)

    @property
    def is_idle(self) -> bool:
        """Whether nothing happened: the batch only says that the stream is silent."""
        return not self.events and self.end is None

    def share(self, encode: Callable[[EventBatch], _T]) -> _T:
        """Return ``encode(self)``, computed once for all followers that receive this batch.

        ``encode`` must be pure, and the same object for all of them. An encoder with state passes a callable that is
        equal for equal states, such as a frozen dataclass with ``__call__``.
        """
        found: _T | None = self.shared.get(encode)
        if found is None:
            found = self.shared[encode] = encode(self)
        return found
