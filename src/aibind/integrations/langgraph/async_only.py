"""The synchronous half of LangGraph's interface, refused: a SqliteClient has no synchronous calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

__all__ = ["AsyncOnlySaver"]


class AsyncOnlySaver(BaseCheckpointSaver[int]):
    """A checkpoint saver whose synchronous methods raise NotImplementedError, which names what to call instead."""

    def get_tuple(self, config: RunnableConfig) -> NoReturn:
        """Raise NotImplementedError: use ``aget_tuple``."""
        self._refuse("get_tuple")

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Raise NotImplementedError: use ``alist``."""
        self._refuse("list")

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> NoReturn:
        """Raise NotImplementedError: use ``aput``."""
        self._refuse("put")

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> NoReturn:
        """Raise NotImplementedError: use ``aput_writes``."""
        self._refuse("put_writes")

    def delete_thread(self, thread_id: str) -> NoReturn:
        """Raise NotImplementedError: use ``adelete_thread``."""
        self._refuse("delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> NoReturn:
        """Raise NotImplementedError: use ``adelete_for_runs``."""
        self._refuse("delete_for_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> NoReturn:
        """Raise NotImplementedError: use ``acopy_thread``."""
        self._refuse("copy_thread")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> NoReturn:
        """Raise NotImplementedError: use ``aprune``."""
        self._refuse("prune")

    def get_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> NoReturn:
        """Raise NotImplementedError: use ``aget_delta_channel_history``."""
        self._refuse("get_delta_channel_history")

    def _refuse(self, name: str) -> NoReturn:
        raise NotImplementedError(
            f"{type(self).__name__} is asynchronous: await a{name}() instead of {name}(), and run the graph with "
            "ainvoke(), astream(), aget_state() and the like"
        )
