"""Streams in a SQLite-shaped database: D1 or a file (contract, sections 2 and 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from .. import _observing
from .._time import earliest_ms, latest_ms, now_ms
from ..errors import (
    PRODUCER_LOST,
    SqliteConstraintError,
    StreamConflictError,
    StreamExistsError,
    StreamNotActiveError,
    StreamNotFoundError,
)
from ..streams.base import BaseStreamStore, check_after_seq, check_limit, check_milliseconds
from ..streams.claims import StreamClaim
from ..streams.polling import PagePoller
from ..streams.store import Pace, StreamChunk, StreamEnd, StreamInfo, StreamPage, StreamStatus
from .client import SqliteClient, SqliteRow, Statement, WatchableSqliteClient
from .stream_cleanup import StreamCleanup
from .stream_poller import StreamPoller
from .stream_rows import claim_of, infos_of, is_expired, status_of
from .stream_sql import MAX_PAGE_CHUNKS, StreamSql
from .stream_tables import StreamTables

__all__ = ["SqliteStreamStore"]

REMOTE_PACE = Pace(250, 2000)
"""Each write is a round trip and is billed: 10 s of text take about 40 writes, 10 minutes about 400."""

LOCAL_PACE = Pace(5)
"""A write takes a few microseconds in a group commit, and readers in other processes wait for it."""

REMOTE_LEASE_MS = 30_000

LOCAL_LEASE_MS = 10_000
"""Renewing costs nothing on a file, and what a killed server held up goes on sooner."""


class SqliteStreamStore(BaseStreamStore):
    """Streams in two tables, which the JavaScript packages read and write as well.

    ``poll_interval_ms`` is how soon a reader polls a remote database again; it backs off while nothing arrives.
    Producers that write to this store object wake its readers without a query; on a local file, those of other
    processes do too. ``ttl_ms`` is how long a stream that has ended can be resumed. ``lease_ms`` is how long a producer
    may neither write nor renew before it counts as lost (None: 10 s on a local file, 30 s elsewhere). The tables are
    made by :func:`aibind.sqlite.migrate`, or by the SQL that ``aibind schema`` prints. Tables of the JavaScript
    packages' SQL that were not migrated do not record sessions, owners, times of creation and requests. Raises
    ValueError for a time that is not above 0 and for a table name that is not a plain identifier.
    """

    def __init__(
        self,
        client: SqliteClient,
        *,
        chunks_table: str = "aibind_stream_chunks",
        status_table: str = "aibind_stream_status",
        poll_interval_ms: int = 50,
        ttl_ms: int = 300_000,
        lease_ms: int | None = None,
    ) -> None:
        check_milliseconds("ttl_ms", ttl_ms)
        local = client if isinstance(client, WatchableSqliteClient) else None
        if lease_ms is None:
            lease_ms = REMOTE_LEASE_MS if local is None else LOCAL_LEASE_MS
        super().__init__(
            flush_pace=REMOTE_PACE if local is None else LOCAL_PACE,
            lease_ms=lease_ms,
            poll_interval_ms=poll_interval_ms,
            shares_wakeups=client.shares_wakeups,
            shares_clock=False,
        )
        self._client = client
        self._local = local
        self._tables = StreamTables(client, chunks_table, status_table)
        self._cleanup = StreamCleanup(self._tables, ttl_ms=ttl_ms, lease_ms=self._lease_ms)
        self._ttl_ms = ttl_ms
        self._poll_interval_ms = poll_interval_ms
        self._names = chunks_table, status_table
        self._leases: dict[str, int] = {}  # of the streams that this store object created and that have not ended

    def __repr__(self) -> str:
        chunks, status = self._names
        return f"<SqliteStreamStore chunks={chunks!r} status={status!r} client={self._client!r}>"

    # --- writing ---

    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        request: str | None = None,
        question_id: str | None = None,
        continuation: str | None = None,
    ) -> None:
        """Begin a stream: one statement, and where the id is taken a batch, in case its stream has expired."""
        now = now_ms()
        expires_at = now + self._lease_ms

        def make(sql: StreamSql) -> Statement:
            return sql.create(
                stream_id,
                expires_at,
                session_id=session_id,
                owner=owner,
                created_at=now,
                request=request,
                question_id=question_id,
                continuation=continuation,
            )

        try:
            await self._tables.execute_extended(make)
        except SqliteConstraintError:
            try:
                await self._tables.run([*self._tables.sql.remove_one(stream_id, earliest_ms()), make(self._tables.sql)])
            except SqliteConstraintError as error:
                raise StreamExistsError(stream_id) from error
        self._leases[stream_id] = expires_at

    async def append_many(
        self,
        stream_id: str,
        chunks: Sequence[str],
        *,
        first_seq: int | None = None,
        renew: bool = False,
        epoch: int | None = None,
    ) -> list[int]:
        """Store chunks and return their seqs: one statement, with ``renew`` a batch of two."""
        statements = self._tables.sql.append(stream_id, chunks, first_seq, epoch=epoch)
        if renew:
            statements.append(self._renewal(stream_id, epoch))
        try:
            results = await self._tables.run(statements)
        except SqliteConstraintError as error:
            raise StreamConflictError(stream_id, first_seq or 0) from error
        if renew:
            results = results[:-1]
        if first_seq is not None and self._local is not None:
            count = 0  # of rows, including those that a trigger of the user's writes
            for result in results:
                count += result.rows_written
            seqs = list(range(first_seq, first_seq + min(count, len(chunks))))
        else:
            seqs = sorted(cast("int", row["seq"]) for result in results for row in result.rows)
        if len(seqs) < len(chunks):
            await self._refuse(stream_id, epoch, first_seq)
        self.wake_readers(stream_id)
        return seqs

    async def renew(self, stream_id: str, *, epoch: int | None = None) -> bool:
        """Restart the producer's lease: one statement."""
        if (await self._tables.execute(self._renewal(stream_id, epoch))).rows:
            return True
        status = await self._get_end(stream_id)
        if status is None:
            raise StreamNotFoundError(stream_id)
        self._check_fence(stream_id, status, epoch)
        return False

    async def set_reference(self, stream_id: str, reference: str, *, epoch: int) -> None:
        """Store what the model's provider knows the answer of an active stream by: one statement."""
        if self._tables.sql.can_claim:
            found = await self._tables.execute_extended(lambda sql: sql.refer(stream_id, reference, epoch))
            if not found.rows:
                await self._refuse(stream_id, epoch)

    async def claim(self, stream_id: str, *, lease: int, max_takeovers: int) -> StreamClaim | None:
        """Become the producer of a stream whose producer is lost: one statement. None on tables without the columns."""
        expires_at = now_ms() + self._lease_ms
        self._leases[stream_id] = expires_at  # before the write, whose answer may be lost
        rows: Sequence[SqliteRow] = ()
        try:
            result = await self._tables.try_extended(
                lambda sql: sql.claim(stream_id, lease, expires_at, max_takeovers) if sql.can_claim else sql.status("")
            )
            rows = () if result is None or not self._tables.sql.can_claim else result.rows
        finally:
            if not rows:
                self._leases.pop(stream_id, None)
        if not rows:
            return None
        if _observing.observer is not None:
            _observing.observer.note_takeover("continued")
        return claim_of(rows[0])

    async def orphans(self, *, before: int | None = None) -> Sequence[StreamInfo]:
        """Return the active streams that can be claimed, and whose lease has run out ``before``: one statement.

        It reads the whole status table.
        """
        now = now_ms() if before is None else before
        result = await self._tables.try_extended(
            lambda sql: sql.select_orphans(now) if sql.can_claim else sql.status("")
        )
        return infos_of(result) if self._tables.sql.can_claim else ()

    async def finish(
        self,
        stream_id: str,
        end: StreamEnd,
        *,
        chunks: Sequence[str] = (),
        first_seq: int | None = None,
        epoch: int | None = None,
    ) -> StreamEnd:
        """Store the last chunks and the end, and return how the stream really ended: one batch, or one statement."""
        ending = self._tables.sql.finish(stream_id, end.state, end.error, latest_ms() + self._ttl_ms, epoch)
        try:
            appending = self._tables.sql.append(stream_id, chunks, first_seq, ending=True, epoch=epoch)
            last = (await self._tables.run([*appending, ending]))[-1]
        except SqliteConstraintError as error:
            raise StreamConflictError(stream_id, first_seq or 0) from error
        if last.rows:
            self._has_ended(stream_id)
            return end
        status = await self._get_end(stream_id)
        if status is not None:
            self._check_fence(stream_id, status, epoch)
        if status is None or status.end is None:  # active again: removed, and created by another producer
            raise StreamNotFoundError(stream_id)
        return status.end

    async def request_stop(self, stream_id: str) -> StreamEnd | None:
        """Ask the producer of a stream to end it as ``stopped``: one statement, or a few when it cannot be asked."""
        if (await self._tables.execute(self._tables.sql.request_stop(stream_id, now_ms()))).rows:
            return None
        return await self.finish(stream_id, StreamEnd("stopped"))

    async def give_up(self, stream_id: str, *, lease: int | None = None) -> StreamEnd | None:
        """End a stream whose lease has run out as lost: one statement, or two when its lease has not.

        A stream that JavaScript writes has no lease: it is left as it is.
        """
        lost = StreamEnd("error", PRODUCER_LOST)
        now = now_ms()
        if await self._cleanup.give_up(stream_id, now, lease):
            self._has_ended(stream_id)
            if _observing.observer is not None:
                _observing.observer.note_takeover("ended")
            return lost
        status = await self._read_status(stream_id)
        if status is None:
            raise StreamNotFoundError(stream_id)
        if status.is_active:
            has_run_out = status.expires_at <= now if lease is None else status.expires_at == lease
            return lost if has_run_out else None
        return status.end

    async def lost_streams(self, session_id: str | None = None) -> Sequence[StreamInfo]:
        """Return the streams of a session (None: of all) whose producer is lost and that are not settled, oldest first.

        One statement; for all sessions it reads the whole status table.
        """
        now = now_ms()
        result = await self._tables.try_extended(lambda sql: sql.select_lost(session_id, now))
        return infos_of(result)

    async def settle(self, stream_id: str) -> None:
        """Let a lost stream expire, since its answer is stored: one statement."""
        await self._tables.execute(self._tables.sql.settle(stream_id, latest_ms() + self._ttl_ms))

    def _renewal(self, stream_id: str, epoch: int | None) -> Statement:
        expires_at = now_ms() + self._lease_ms
        if stream_id in self._leases:
            self._leases[stream_id] = expires_at  # before the write, whose answer may be lost
        return self._tables.sql.renew(stream_id, expires_at, epoch)

    def _has_ended(self, stream_id: str) -> None:
        self._leases.pop(stream_id, None)
        self.wake_readers(stream_id)

    async def _get_end(self, stream_id: str) -> StreamStatus | None:
        """Return the status of a stream that refused a write."""
        self.wake_readers(stream_id)
        status = await self.get_status(stream_id)
        if status is None or not status.is_active:
            self._has_ended(stream_id)
        return status

    async def _keep(self, stream_id: str, status: StreamStatus) -> StreamStatus | None:
        """Let a stream of this store object that has ended elsewhere be resumed for its time to live.

        JavaScript's stop leaves the row as the producer wrote it last: with the lease, and without the count.
        """
        lease = self._leases.get(stream_id)
        found: StreamStatus | None = status
        if lease is not None and status.total_chunks == 0 and status.expires_at <= lease:
            expires_at = latest_ms() + self._ttl_ms
            kept = (await self._tables.execute_extended(lambda sql: sql.keep(stream_id, expires_at, lease))).rows
            # No row: another call was first, or the stream has been removed.
            found = status_of(kept[0], stored=0) if kept else await self._read_status(stream_id)
        self._has_ended(stream_id)
        return found

    async def _refuse(self, stream_id: str, epoch: int | None, first_seq: int | None = None) -> None:
        status = await self._get_end(stream_id)
        if status is None:
            raise StreamNotFoundError(stream_id)
        self._check_fence(stream_id, status, epoch, first_seq)
        raise StreamNotActiveError(stream_id, "stopping" if status.stop_requested else status.state)

    def _check_fence(
        self, stream_id: str, status: StreamStatus, epoch: int | None, first_seq: int | None = None
    ) -> None:
        """Raise StreamConflictError when a stream that refused a write is another producer's."""
        if status.is_active and epoch is not None and self._tables.sql.can_claim and status.takeovers != epoch:
            self._has_ended(stream_id)
            raise StreamConflictError(stream_id, first_seq or 0)

    # --- reading ---

    def make_poller(self, stream_id: str, wakeup: asyncio.Event) -> PagePoller:
        """Return how one reader polls: when woken, on a change of a local file, or backing off."""
        following = False

        async def read_page(after_seq: int) -> StreamPage:
            # A reader that saw the stream active reads it to its end: a JavaScript producer never moves expires_at, so
            # a long stream of one has expired when it ends.
            nonlocal following
            page = await self._look(stream_id, after_seq, expired=following)
            following = True
            return page

        return StreamPoller(
            read_page,
            wakeup,
            is_own=lambda: self._shares_wakeups and stream_id in self._leases,
            local=self._local,
            readers=lambda: self._wakeups.watching,
            poll_interval_s=self._poll_interval_ms / 1000,
        )

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        """Return one page of what is stored past ``after_seq``: one statement."""
        return await self._look(stream_id, after_seq, expired=False)

    async def _look(self, stream_id: str, after_seq: int, *, expired: bool) -> StreamPage:
        check_after_seq(after_seq)
        rows = (await self._tables.execute_extended(lambda sql: sql.read(stream_id, after_seq))).rows
        if not rows:
            raise StreamNotFoundError(stream_id)
        chunks = tuple(
            StreamChunk(cast("int", row["seq"]), cast("str", row["data"])) for row in rows if row["seq"] is not None
        )
        status = status_of(rows[0], stored=chunks[-1].seq if chunks else after_seq)
        if is_expired(status) and not expired:
            raise StreamNotFoundError(stream_id)
        return StreamPage(status, chunks, has_more=len(chunks) == MAX_PAGE_CHUNKS)

    async def get_status(self, stream_id: str, *, owner: str | None = None) -> StreamStatus | None:
        """Return the current state of a stream, or None if it is unknown or not the ``owner``'s: one statement.

        Nothing is anybody's on tables without the columns of sessions, and what JavaScript wrote is not either.

        A second one follows when this store object produces the stream and learns that JavaScript stopped it.
        """
        status = await self._read_status(stream_id, owner)
        if status is not None and not status.is_active and stream_id in self._leases:
            status = await self._keep(stream_id, status)
        return None if status is None or is_expired(status) else status

    async def _read_status(self, stream_id: str, owner: str | None = None) -> StreamStatus | None:
        rows = (await self._tables.execute_extended(lambda sql: sql.status(stream_id, owner))).rows
        return status_of(rows[0], stored=0) if rows else None

    async def live_streams(self, session_id: str) -> Sequence[str]:
        """Return the ids of a session's streams that are active and whose lease has not run out, oldest first.

        One statement, which any process may run. There are none on tables without the columns of sessions.
        """
        now = now_ms()
        result = await self._tables.try_extended(lambda sql: sql.live(session_id, now))
        return () if result is None else [cast("str", row["id"]) for row in result.rows]

    async def list_streams(
        self,
        *,
        owner: str | None = None,
        session_id: str | None = None,
        since_ms: int | None = None,
        limit: int = 50,
    ) -> list[StreamInfo]:
        """Return the streams that have not expired, newest first, at most ``limit``: one statement.

        They can be limited to an ``owner``, to a session, and to those created at ``since_ms`` (milliseconds since the
        epoch) or later. Streams of JavaScript producers, whose time is not known, come last. Unless a session is given,
        the statement reads the whole status table. There are none on tables without the columns of sessions. Raises
        ValueError for a ``limit`` below 1.
        """
        check_limit(limit)
        now = earliest_ms()
        result = await self._tables.try_extended(
            lambda sql: sql.select_listed(now, owner=owner, session_id=session_id, since_ms=since_ms, limit=limit)
        )
        return infos_of(result)

    # --- cleaning up ---

    async def discard(self, stream_id: str, *, request: str | None = None) -> None:
        """Remove an active stream that was not begun: one batch.

        Tables without the column of requests do not know that of a stream: with ``request`` nothing is removed there.
        """
        if request is None or self._tables.sql.knows_requests:
            await self._tables.run(self._tables.sql.discard(stream_id, request))
        self._has_ended(stream_id)

    async def cleanup(self) -> int:
        """Remove streams that have expired, ended or abandoned, and return how many.

        Call it from a cron trigger or a periodic task. These are removed:

        * a stream that has ended and whose time to live is over;
        * an active stream whose lease has run out, if it gets no chunk and its lease is not renewed during another
          lease, for which this call waits; one of a session is ended as lost instead, and kept for 30 days unless
          :meth:`settle` is called;
        * an active stream that JavaScript writes, which has no lease, once its time to live is over: if an earlier call
          on this store object, at least ``lease_ms`` ago, saw it with as many chunks; or, since a cron trigger may make
          a store for each call, if it expired more than an hour ago, and more than ``ttl_ms`` ago. In either case it
          too gets another lease.

        JavaScript counts chunks in the status row as it writes them, which tells its active streams from ours. One that
        has no chunk yet is treated as ours.
        """
        return await self._cleanup.run(self.grace_s)
