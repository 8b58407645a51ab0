"""Rows of the status table, read as the states of streams."""

from __future__ import annotations

from typing import cast

from .._time import earliest_ms
from ..streams.claims import StreamClaim
from ..streams.store import StreamInfo, StreamState, StreamStatus
from .client import SqliteResult, SqliteRow

__all__ = ["claim_of", "infos_of", "is_expired", "status_of"]


def status_of(row: SqliteRow, *, stored: int) -> StreamStatus:
    """Read a status row, in which ``total_chunks`` is updated when the stream ends, not at every append.

    ``stored`` is how many chunks there are at least.
    """
    total = max(stored, cast("int", row["total_chunks"]))
    return StreamStatus(
        cast("StreamState", row["state"]),
        cast("str | None", row["error"]),
        total,
        cast("int", row["expires_at"]),
        cast("str | None", row.get("session_id")),
        cast("str | None", row.get("owner")),
        cast("int | None", row.get("created_at")),
        cast("str | None", row.get("request")),
        row["state"] == "active" and bool(row.get("stop_requested", cast("int", row["total_chunks"]) < 0)),
        cast("str | None", row.get("question_id")),
        cast("int", row.get("takeovers", 0)),
        cast("str | None", row.get("reference")),
    )


def claim_of(row: SqliteRow) -> StreamClaim:
    """Read the row of a stream that was claimed."""
    return StreamClaim(
        cast("int", row["takeovers"]),
        cast("int", row["expires_at"]),
        cast("str", row["continuation"]),
        cast("str | None", row["reference"]),
        cast("str | None", row["session_id"]),
        cast("str | None", row["owner"]),
        cast("str | None", row["question_id"]),
    )


def infos_of(result: SqliteResult | None) -> list[StreamInfo]:
    """Read status rows with the ids of their streams; without a result there are none."""
    rows = () if result is None else result.rows
    return [StreamInfo(cast("str", row["id"]), status_of(row, stored=0)) for row in rows]


def is_expired(status: StreamStatus) -> bool:
    """Return whether a stream has ended and its time to live is over."""
    return not status.is_active and status.expires_at <= earliest_ms()
