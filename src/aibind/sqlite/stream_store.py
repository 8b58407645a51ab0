"""Streams in a SQLite-shaped database: D1, a Durable Object, a file (contract §2 and §3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import cast

from .._time import now_ms, sleep
from ..errors import (
    SqliteConstraintError,
    StreamConflictError,
    StreamExistsError,
    StreamNotActiveError,
    StreamNotFoundError,
)
from ..streams.follow import Signals, check_after_seq, chunks_of, follow_pages, grace_s
from ..streams.store import Pace, StreamChunk, StreamEnd, StreamPage, StreamState, StreamStatus
from .client import SqliteClient, SqliteResult, SqliteRow, Statement, WatchableSqliteClient
from .stream_reader import StreamReader
from .stream_sql import PAGE_CHUNKS, SWEEP_STREAMS, StreamSql

__all__ = ["SqliteStreamStore"]

REMOTE_SCHEDULE = Pace(250, 2000)
"""Each write is a round trip and is billed: 10 s of text take about 40 writes, 10 minutes about 400."""

LOCAL_SCHEDULE = Pace(5)
"""A write is a few microseconds in a group commit: other processes should not wait."""


class SqliteStreamStore:
    """Keeps streams in two tables, which the JavaScript packages read and write as well.

    ``poll_interval_ms`` is how soon a reader looks again at a remote database; it waits longer while nothing comes.
    Producers of this store object wake their readers without any query, and on a local file so do other processes.
    ``ttl_ms`` is how long an ended stream can be resumed. ``lease_ms`` is how long a producer may neither write nor
    renew before its readers give it up as lost. The tables are made by :func:`aibind.sqlite.migrate`, or by the SQL
    that ``aibind schema`` prints; ValueError is raised for a name that is no plain identifier.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        chunks_table: str = "aibind_stream_chunks",
        status_table: str = "aibind_stream_status",
        poll_interval_ms: int = 50,
        ttl_ms: int = 300_000,
        lease_ms: int = 30_000,
    ) -> None:
        for name, value in (("poll_interval_ms", poll_interval_ms), ("ttl_ms", ttl_ms), ("lease_ms", lease_ms)):
            if value <= 0:
                raise ValueError(f"{name} is {value}: use a number of milliseconds above 0")
        self._client = client
        self._local = client if isinstance(client, WatchableSqliteClient) else None
        self._sql = StreamSql(chunks_table, status_table, counted=self._local is not None)
        self._poll_interval_ms = poll_interval_ms
        self._ttl_ms = ttl_ms
        self._lease_ms = lease_ms
        self._signals = Signals()
        self._producing: set[str] = set()  # streams that this store object created and that have not ended
        self._readers = 0

    @property
    def flush_pace(self) -> Pace:
        """Recommend how often to write, after what a write costs here."""
        return LOCAL_SCHEDULE if self._local else REMOTE_SCHEDULE

    @property
    def lease_ms(self) -> int:
        """Tell how long a producer's lease is."""
        return self._lease_ms

    @property
    def wakes(self) -> bool:
        """Say whether readers and producers of this store object may wake each other.

        Not in a Worker: requests share its memory, but whatever one of them resumes in another is cut off.
        """
        return getattr(self._client, "wakes", True)

    # --- writing ---

    async def create(self, stream_id: str) -> None:
        """Begin a stream, in one statement."""
        try:
            await self._execute(self._sql.create(stream_id, now_ms() + self._lease_ms))
        except SqliteConstraintError as error:
            raise StreamExistsError(stream_id) from error
        self._producing.add(stream_id)

    async def append(self, stream_id: str, chunk: str) -> int:
        """Store one chunk, in one statement."""
        return (await self.append_many(stream_id, [chunk]))[0]

    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        """Store chunks, in one statement; with ``renew`` in one batch of two."""
        statements = self._sql.append(stream_id, chunks, first_seq)
        if renew:
            statements.append(self._sql.renew(stream_id, now_ms() + self._lease_ms))
        try:
            results = await self._run(statements)
        except SqliteConstraintError as error:
            raise StreamConflictError(stream_id, first_seq or 0) from error
        if renew:
            results = results[:-1]
        if first_seq is not None and self._local is not None:
            count = 0
            for result in results:
                count += result.rows_written
            seqs = list(range(first_seq, first_seq + min(count, len(chunks))))  # a trigger of the user's counts as well
        else:
            seqs = sorted(cast("int", row["seq"]) for result in results for row in result.rows)
        if len(seqs) < len(chunks):
            await self._refuse(stream_id)
        self._notify(stream_id)
        return seqs

    async def renew(self, stream_id: str) -> bool:
        """Start the lease anew, in one statement."""
        if (await self._execute(self._sql.renew(stream_id, now_ms() + self._lease_ms))).rows:
            return True
        self._has_ended(stream_id)
        if await self.get_status(stream_id) is None:
            raise StreamNotFoundError(stream_id)
        return False

    async def stop(self, stream_id: str) -> None:
        """End a stream as stopped, in one statement."""
        await self.finish(stream_id, StreamEnd("stopped"))

    async def complete(self, stream_id: str) -> None:
        """End a stream as done, in one statement."""
        await self.finish(stream_id, StreamEnd("done"))

    async def fail(self, stream_id: str, error: str) -> None:
        """End a stream with an error, in one statement."""
        await self.finish(stream_id, StreamEnd("error", error))

    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        """Store the last chunks and the end, in one batch."""
        ending = self._sql.finish(stream_id, end.state, end.error, now_ms() + self._ttl_ms)
        try:
            last = (await self._run([*self._sql.append(stream_id, chunks, first_seq), ending]))[-1]
        except SqliteConstraintError as error:
            raise StreamConflictError(stream_id, first_seq or 0) from error
        self._has_ended(stream_id)
        if last.rows:
            return end
        status = await self.get_status(stream_id)
        if status is None or status.end is None:  # active again: removed, and created by another producer
            raise StreamNotFoundError(stream_id)
        return status.end

    def _has_ended(self, stream_id: str) -> None:
        self._producing.discard(stream_id)
        self._notify(stream_id)

    async def _refuse(self, stream_id: str) -> None:
        self._has_ended(stream_id)
        status = await self.get_status(stream_id)
        if status is None:
            raise StreamNotFoundError(stream_id)
        raise StreamNotActiveError(stream_id, status.state)

    # --- reading ---

    def read_from(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamChunk]:
        """Yield what is stored, then what comes."""
        return chunks_of(self.read_pages(stream_id, after_seq))

    async def read_pages(self, stream_id: str, after_seq: int = 0) -> AsyncIterator[StreamPage]:
        """Yield the same in pages, with one statement a look."""
        following = False

        async def look(after: int) -> StreamPage:
            # Whoever saw it run reads it to its end: a JavaScript producer never moves expires_at, so that a long
            # stream has expired when it ends.
            nonlocal following
            page = await self._look(stream_id, after, expired=following)
            following = True
            return page

        self._readers += 1
        try:
            with self._signals.watch(stream_id) as changed:
                reader = StreamReader(
                    look,
                    changed,
                    is_own=lambda: self.wakes and stream_id in self._producing,
                    local=self._local,
                    crowd=lambda: self._readers,
                    poll_interval_s=self._poll_interval_ms / 1000,
                )
                async for page in follow_pages(stream_id, reader, after_seq=after_seq, lease_ms=self._lease_ms):
                    yield page
        finally:
            self._readers -= 1

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page, with one statement."""
        return await self._look(stream_id, after_seq, expired=False)

    async def _look(self, stream_id: str, after_seq: int, *, expired: bool) -> StreamPage:
        check_after_seq(after_seq)
        rows = (await self._execute(self._sql.read(stream_id, after_seq))).rows
        if not rows:
            raise StreamNotFoundError(stream_id)
        chunks = tuple(
            StreamChunk(cast("int", row["seq"]), cast("str", row["data"])) for row in rows if row["seq"] is not None
        )
        status = _status(rows[0], stored=chunks[-1].seq if chunks else after_seq)
        if _is_expired(status) and not expired:
            raise StreamNotFoundError(stream_id)
        return StreamPage(status, chunks, has_more=len(chunks) == PAGE_CHUNKS)

    async def get_status(self, stream_id: str) -> StreamStatus | None:
        """Tell how a stream is, with one statement."""
        rows = (await self._execute(self._sql.status(stream_id))).rows
        if not rows:
            return None
        status = _status(rows[0], stored=0)
        return None if _is_expired(status) else status

    # --- keeping the house ---

    async def cleanup(self) -> int:
        """Remove what has expired. A producer that seems lost is given a tenth of a lease to show progress.

        Run it from a cron trigger, or now and then.
        """
        now = now_ms()
        removed = 0
        silent = (await self._execute(self._sql.silent(now))).rows
        if silent:
            await sleep(grace_s(self._lease_ms))
            seen = [(cast("str", row["id"]), cast("int", row["stored"])) for row in silent]
            removed = len((await self._client.batch(self._sql.remove_silent(now, seen)))[-1].rows)
        while True:
            count = len((await self._client.batch(self._sql.remove_expired(now)))[-1].rows)
            removed += count
            if count < SWEEP_STREAMS:
                return removed

    def _notify(self, stream_id: str) -> None:
        if self.wakes:
            self._signals.notify(stream_id)

    # --- the client ---

    async def _execute(self, statement: Statement) -> SqliteResult:
        return await self._client.execute(statement.sql, statement.args)

    async def _run(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run statements in one transaction; a single one is a transaction by itself."""
        if len(statements) == 1:
            return [await self._client.execute(statements[0].sql, statements[0].args)]
        return await self._client.batch(statements)


def _status(row: SqliteRow, *, stored: int) -> StreamStatus:
    """Read a status row. ``total_chunks`` is kept up to date there when the stream ends, not at every append."""
    total = max(stored, cast("int", row["total_chunks"]))
    return StreamStatus(
        cast("StreamState", row["state"]), cast("str | None", row["error"]), total, cast("int", row["expires_at"])
    )


def _is_expired(status: StreamStatus) -> bool:
    return not status.is_active and status.expires_at <= now_ms()
