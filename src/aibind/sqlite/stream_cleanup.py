"""Give up the producers that are lost, and remove what has expired or was abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from .._time import earliest_ms, latest_ms, now_ms, sleep
from ..errors import PRODUCER_LOST
from ..streams.leases import MAX_LEASE_MS, MAX_WAIT_MS
from .client import SqliteRow, Statement
from .stream_sql import MAX_SWEPT_STREAMS, StreamSql
from .stream_tables import StreamTables

__all__ = ["StreamCleanup"]

JAVASCRIPT_SILENCE_MS = 3_600_000
"""Milliseconds past its time to live after which one look shows that an active JavaScript stream is abandoned."""


class StreamCleanup:
    """The end of streams that no producer ends, in the tables of one store object."""

    def __init__(self, tables: StreamTables, *, ttl_ms: int, lease_ms: int) -> None:
        self._tables = tables
        self._ttl_ms = ttl_ms
        self._lease_ms = lease_ms
        self._silent: dict[str, tuple[int, float]] = {}  # JavaScript streams: chunks, and since when there are no more

    async def give_up(self, stream_id: str, now: int, lease: int | None) -> bool:
        """End a stream as lost if its lease has run out by ``now``, or is still ``lease``; return whether it was."""
        result = await self._tables.execute_extended(lambda sql: self._giving_up(sql, stream_id, now, lease))
        return bool(result.rows)

    async def run(self, grace_s: float) -> int:
        """Remove streams that have expired, ended or abandoned, and return how many.

        Those whose lease has run out have ``grace_s`` seconds to show progress. See ``SqliteStreamStore.cleanup``.
        """
        now = now_ms()
        too_late = now + max(MAX_LEASE_MS, 10 * self._lease_ms)
        removed = 0
        rows = (await self._tables.execute_extended(lambda sql: sql.silent(now, too_late))).rows
        silent = self._choose_silent(rows, now)
        if silent:
            await sleep(grace_s)
            waited_for = {cast("str", row["id"]) for row in rows if row["has_session"]}
            giving_up = [
                self._giving_up(self._tables.sql, stream_id, now, lease)
                for stream_id, _, lease in silent
                if stream_id in waited_for
            ]
            removing = self._tables.sql.remove_silent([one for one in silent if one[0] not in waited_for])
            removed = len((await self._tables.run([*giving_up, *removing]))[-1].rows)
        expired = earliest_ms()
        while True:
            count = len((await self._tables.run(self._tables.sql.remove_expired(expired)))[-1].rows)
            removed += count
            if count < MAX_SWEPT_STREAMS:
                return removed

    def _giving_up(self, sql: StreamSql, stream_id: str, now: int, lease: int | None) -> Statement:
        expires_at = latest_ms() + self._ttl_ms
        kept_until = max(expires_at, latest_ms() + MAX_WAIT_MS)
        return sql.give_up(stream_id, PRODUCER_LOST, kept_until=kept_until, expires_at=expires_at, now=now, lease=lease)

    def _choose_silent(self, rows: Sequence[SqliteRow], now: int) -> list[tuple[str, int, int]]:
        """Return which active streams past their ``expires_at`` may be abandoned, with their chunks and that time."""
        clock = asyncio.get_running_loop().time()
        long_ago = now - max(self._ttl_ms, JAVASCRIPT_SILENCE_MS)
        chosen: list[tuple[str, int, int]] = []
        javascript: dict[str, tuple[int, float]] = {}
        for row in rows:
            stream_id, stored, expires_at = (
                cast("str", row["id"]),
                cast("int", row["stored"]),
                cast("int", row["expires_at"]),
            )
            if cast("int", row["total_chunks"]) > 0:
                count, since = self._silent.get(stream_id, (stored, clock))
                if count != stored:
                    since = clock
                javascript[stream_id] = stored, since
                silent_ms = (clock - since) * 1000
                if silent_ms < self._lease_ms and expires_at > long_ago:
                    continue
            chosen.append((stream_id, stored, expires_at))
        self._silent = javascript
        return chosen
