"""Streams whose producer is lost: this process goes on with one if it can, and otherwise ends it."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakMethod

from .store import StreamEnd, StreamStore

__all__ = ["TakeOver", "give_up_lost", "set_take_over"]

TakeOver: TypeAlias = Callable[[str, int], Awaitable[bool | None]]
"""A function of a stream's id and the lease that was seen, which goes on with the stream and returns True if it can.

It returns None to leave the stream to other processes for now.
"""

# The store's followers and sweeps come to a lost stream; who can go on with it knows the models.
_take_overs: WeakKeyDictionary[StreamStore, WeakMethod[TakeOver]] = WeakKeyDictionary()


def set_take_over(store: StreamStore, take_over: TakeOver) -> None:
    """Let ``take_over``, a method, go on with the lost streams of a store object, for as long as its object lives."""
    _take_overs[store] = weakref.WeakMethod(take_over)


async def give_up_lost(store: StreamStore, stream_id: str, lease: int) -> StreamEnd | None:
    """Go on with a stream whose producer is lost, or end it as lost; return how it has ended, None if it goes on.

    ``lease`` is the ``expires_at`` that was seen unchanged. Raises what :meth:`StreamStore.give_up` raises.
    """
    found = _take_overs.get(store)
    take_over = found() if found is not None else None
    if take_over is not None and await take_over(stream_id, lease) is not False:
        return None
    return await store.give_up(stream_id, lease=lease)
