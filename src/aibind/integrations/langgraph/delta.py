"""Delta channels: which checkpoints above one their values are read from.

LangGraph stores such a channel's value now and then; in between it is what the writes since then make of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, PendingWrite

__all__ = ["ChannelWalk", "needed_channels"]


class ChannelWalk:
    """A walk from a checkpoint up its parents, until the stored value of each of some channels is found."""

    def __init__(self, channels: Iterable[str]) -> None:
        self._writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        self._seeds: dict[str, Any] = {}
        self.walked: set[str] = set()
        """The ids of the checkpoints that were visited."""

    @property
    def is_complete(self) -> bool:
        """Whether the value of every channel was found."""
        return len(self._seeds) == len(self._writes)

    def visit(self, checkpoint_id: str) -> bool:
        """Note a checkpoint, and return whether the walk goes on with it: it is needed, and was not visited before."""
        if self.is_complete or checkpoint_id in self.walked:
            return False
        self.walked.add(checkpoint_id)
        return True

    def add(self, writes: Sequence[PendingWrite], values: Mapping[str, Any]) -> None:
        """Take a checkpoint's writes, in their order, and the values that it stores, which were there before them."""
        for write in reversed(writes):
            channel = write[1]
            if channel in self._writes and channel not in self._seeds:
                self._writes[channel].append(write)
        for channel in self._writes:
            if channel in values:
                self._seeds.setdefault(channel, values[channel])

    def result(self) -> dict[str, DeltaChannelHistory]:
        """Return the writes to each channel, oldest first, and its stored value where one was found."""
        found: dict[str, DeltaChannelHistory] = {}
        for channel, writes in self._writes.items():
            found[channel] = {"writes": writes[::-1]}
            if channel in self._seeds:
                found[channel]["seed"] = self._seeds[channel]
        return found


def needed_channels(found: CheckpointTuple) -> set[str]:
    """Return the delta channels whose values a checkpoint does not store itself."""
    checkpoint = found.checkpoint
    counted = set(found.metadata.get("counters_since_delta_snapshot", {}))
    return (counted & checkpoint["channel_versions"].keys()) - checkpoint["channel_values"].keys()
