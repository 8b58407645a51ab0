"""A checkpoint saver for LangGraph over any SqliteClient."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from ...sqlite import SqliteClient, SqliteRow
from .async_only import AsyncOnlySaver
from .checkpoint_sql import CheckpointKey, WriteRow
from .delta import ChannelWalk, needed_channels
from .tables import CheckpointTables, key_of

__all__ = ["SqliteCheckpointSaver"]

CHECKPOINTS_TABLE = "aibind_checkpoints"
WRITES_TABLE = "aibind_checkpoint_writes"

_PAGE = 20
"""Checkpoints that one statement reads."""


class SqliteCheckpointSaver(AsyncOnlySaver):
    """A checkpoint saver over any :class:`~aibind.sqlite.SqliteClient`: a file on this machine, or D1 in a Worker.

    A checkpoint is a row, and so is each of its pending writes; one that is longer than 1 MB is split. Storing a
    checkpoint, or all the writes of a task, is one transaction and one round trip, and so is reading the latest
    checkpoint with its writes. What could not be stored raises one of the ``Sqlite…`` errors of the client, which ends
    the graph's run. A transient error is retried for ``patience_s`` seconds first: repeating a statement changes
    nothing.

    The tables are made by :meth:`setup`; their names must be ASCII letters, digits and underscores. ``serde`` is
    LangGraph's serializer for the values, by default its JsonPlusSerializer.

    Only the asynchronous methods work: a graph is run with ``ainvoke`` or ``astream``. The others raise
    NotImplementedError. Making a saver costs nothing: in a Worker, make one over ``wrap_d1(env.DB)`` for each request.

    Raises ValueError for an invalid table name.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        checkpoints_table: str = CHECKPOINTS_TABLE,
        writes_table: str = WRITES_TABLE,
        serde: SerializerProtocol | None = None,
        patience_s: float = 5.0,
    ) -> None:
        super().__init__(serde=serde)
        self._tables = CheckpointTables(client, checkpoints_table, writes_table, patience_s)
        self._sql = self._tables.sql

    def __repr__(self) -> str:
        return f"<SqliteCheckpointSaver {self._tables!r}>"

    async def setup(self) -> None:
        """Create the tables, unless they are there. Any number of processes may call this at once."""
        await self._tables.batch(self._sql.create())

    # --- reading ---

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names, or else the latest of its thread and namespace."""
        thread_id, namespace, checkpoint_id = _place(config)
        found, writes = await self._tables.batch(self._sql.get(thread_id, namespace, checkpoint_id))
        return await self._tuple(found.rows[0], writes.rows) if found.rows else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints with their writes, newest first, in pages of 20.

        ``config`` limits them to a thread, and to the namespace and checkpoint that it names; without one, all are
        listed. ``filter`` gives metadata that must be equal.
        """
        where = _columns(config)
        end = before.get("configurable", {}).get("checkpoint_id") if before is not None else None
        wanted = filter or {}
        after: CheckpointKey | None = None
        while limit is None or limit > 0:
            size = _PAGE if limit is None or wanted else min(limit, _PAGE)
            page = (await self._tables.batch([self._sql.page(where, wanted, end, after, size)]))[0].rows
            rows = [row for row in page if _matches(json.loads(cast("str", row["metadata"])), wanted)][:limit]
            writes = (await self._tables.batch([self._sql.writes_of(map(key_of, rows))]))[0].rows if rows else []
            for row in rows:
                key = key_of(row)
                yield await self._tuple(row, [write for write in writes if key_of(write) == key])
            if len(page) < size:
                return
            limit = None if limit is None else limit - len(rows)
            after = key_of(page[-1])

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what the checkpoints above one wrote to delta channels, 20 of them in each round trip."""
        walk = ChannelWalk(channels)
        if not channels:
            return walk.result()
        thread_id, namespace, checkpoint_id = _place(config)
        if checkpoint_id is None:
            newest = await self.aget_tuple(config)
            checkpoint_id = newest.checkpoint["id"] if newest is not None else None
        if checkpoint_id is not None:
            walk.visit(checkpoint_id)
        cursor = checkpoint_id
        while cursor is not None:
            path = self._sql.path(CheckpointKey(thread_id, namespace, cursor), channels, _PAGE + 1)
            found, written = await self._tables.batch(path)
            # The first row is the checkpoint itself, or the last one of the page before.
            for row in found.rows[1:]:
                if not walk.visit(cast("str", row["checkpoint_id"])):
                    return walk.result()
                writes = await self._pending([write for write in written.rows if key_of(write) == key_of(row)])
                checkpoint = await self._load(row)
                walk.add(writes, checkpoint["channel_values"])
            if walk.is_complete or len(found.rows) <= _PAGE:
                break
            cursor = cast("str", found.rows[-1]["checkpoint_id"])
        return walk.result()

    # --- writing ---

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002 - a checkpoint is stored whole, so that none depends on others
    ) -> RunnableConfig:
        """Store a checkpoint below that of ``config``, and return the config that names it.

        Raises TypeError or ValueError for metadata that is not JSON; NaN and infinities are not.
        """
        thread_id, namespace, parent_id = _place(config)
        key = CheckpointKey(thread_id, namespace, checkpoint["id"])
        type_, data = self.serde.dumps_typed(checkpoint)
        described = json.dumps(get_checkpoint_metadata(config, metadata), allow_nan=False)
        await self._tables.batch(self._sql.put(key, parent_id, type_, described, data))
        return _config(key)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task, which belong to the checkpoint that ``config`` names."""
        thread_id, namespace, checkpoint_id = _place(config)
        if checkpoint_id is None:
            raise ValueError("The config of pending writes names no checkpoint_id: pass the config that aput returned")
        key = CheckpointKey(thread_id, namespace, checkpoint_id)
        rows: dict[int, WriteRow] = {}  # one statement cannot insert a row and replace it
        for number, (channel, value) in enumerate(writes):
            idx = WRITES_IDX_MAP.get(channel, number)
            rows[idx] = WriteRow(idx, channel, *self.serde.dumps_typed(value))
        await self._tables.batch(self._sql.put_writes(key, task_id, task_path, list(rows.values())))

    # --- deleting and copying ---

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes; an unknown thread is not an error."""
        await self._tables.batch(self._sql.delete_thread(str(thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints and writes of runs. It reads the whole table, since checkpoints have no such index.

        Delta channels of later checkpoints lose what these runs wrote to them.
        """
        await self._tables.batch(self._sql.delete_runs(list(map(str, run_ids))))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread to another one."""
        await self._tables.batch(self._sql.copy_thread(str(source_thread_id), str(target_thread_id)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all but the latest checkpoint of each namespace of some threads, or with ``delete`` all of them.

        The checkpoints above the latest one that its delta channels are read from stay. Raises ValueError for another
        ``strategy``.
        """
        if strategy not in {"keep_latest", "delete"}:
            raise ValueError(f'strategy is {strategy!r}: use "keep_latest" or "delete"')
        for thread_id in map(str, thread_ids):
            if strategy == "delete":
                await self.adelete_thread(thread_id)
                continue
            for row in (await self._tables.batch([self._sql.latest(thread_id)]))[0].rows:
                latest = CheckpointKey(thread_id, cast("str", row["checkpoint_ns"]), cast("str", row["checkpoint_id"]))
                await self._tables.batch(self._sql.prune(latest, await self._needed_above(latest)))

    async def _needed_above(self, latest: CheckpointKey) -> set[str]:
        """Return the ids of the checkpoints above one that its delta channels are read from."""
        newest = await self.aget_tuple(_config(latest))
        if newest is None:
            return set()
        walk = ChannelWalk(needed_channels(newest))
        walk.visit(latest.checkpoint_id)
        parent = newest.parent_config
        while parent is not None and not walk.is_complete:
            found = await self.aget_tuple(parent)
            if found is None or not walk.visit(found.checkpoint["id"]):
                break
            walk.add([], found.checkpoint["channel_values"])
            parent = found.parent_config
        return walk.walked

    # --- rows ---

    async def _tuple(self, row: SqliteRow, writes: Sequence[SqliteRow]) -> CheckpointTuple:
        key = key_of(row)
        parent_id = cast("str | None", row["parent_id"])
        return CheckpointTuple(
            config=_config(key),
            checkpoint=await self._load(row),
            metadata=json.loads(cast("str", row["metadata"])),
            parent_config=None
            if parent_id is None
            else _config(CheckpointKey(key.thread_id, key.namespace, parent_id)),
            pending_writes=await self._pending(writes),
        )

    async def _load(self, row: SqliteRow) -> Checkpoint:
        return self.serde.loads_typed((cast("str", row["type"]), await self._tables.checkpoint_data(row)))

    async def _pending(self, rows: Sequence[SqliteRow]) -> list[PendingWrite]:
        writes: list[PendingWrite] = []
        for row in rows:
            value = self.serde.loads_typed((cast("str", row["type"]), await self._tables.write_data(row)))
            writes.append((cast("str", row["task_id"]), cast("str", row["channel"]), value))
        return writes


def _place(config: RunnableConfig) -> tuple[str, str, str | None]:
    """Return the thread, the namespace and the checkpoint that a config names."""
    named = config.get("configurable", {})
    if "thread_id" not in named:
        raise ValueError('The config names no thread: pass {"configurable": {"thread_id": …}}')
    return str(named["thread_id"]), named.get("checkpoint_ns", ""), named.get("checkpoint_id")


def _config(key: CheckpointKey) -> RunnableConfig:
    names = {"thread_id": key.thread_id, "checkpoint_ns": key.namespace, "checkpoint_id": key.checkpoint_id}
    return {"configurable": names}


def _columns(config: RunnableConfig | None) -> dict[str, str]:
    """Return what a config limits a list to, by column."""
    named = config.get("configurable", {}) if config is not None else {}
    wanted = {name: named.get(name) for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}
    if not wanted["checkpoint_id"]:
        del wanted["checkpoint_id"]
    return {name: str(value) for name, value in wanted.items() if value is not None}


def _matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(metadata.get(name) == value for name, value in wanted.items())
