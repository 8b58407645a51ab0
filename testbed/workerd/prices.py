"""Cloudflare's prices, and what a month of replies costs by them.

The prices are those of Cloudflare's documentation in November 2026, for paid plans in US dollars, the same for the rows
of D1 and of a Durable Object. What a plan includes is not subtracted: 10 million Worker requests, 1 million object
requests, 400,000 GB-s, 50 million rows written and 25 billion rows read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["PRICES", "PRICES_OF", "Operations", "agents_reply", "dollars_of", "operations_of"]

PRICES_OF = "November 2026"

OBJECT_GB = 0.128
"""Gigabytes for which an object is billed while it is in memory, whatever it takes."""

PRICES: Mapping[str, float] = {
    "worker_requests": 0.30,
    "object_requests": 0.15,
    "object_s": 12.50 * OBJECT_GB,
    "rows_read": 0.001,
    "rows_written": 1.00,
}
"""Dollars for a million of each."""


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of one reply that are billed."""

    worker_requests: float = 0.0
    object_requests: float = 0.0
    object_s: float = 0.0
    """Seconds for which a Durable Object is in memory."""
    rows_read: float = 0.0
    rows_written: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def __mul__(self, times: float) -> Operations:
        return Operations(*(getattr(self, one.name) * times for one in fields(self)))


def operations_of(meter: Mapping[str, Any]) -> Operations:
    """Return what objects are billed for, as the rig's meter counts it.

    Requests are those, remote calls and alarms; rows are those that workerd reports for each statement, and one for
    each time that the alarm was set.
    """
    counted = meter["objects"]
    return Operations(
        object_requests=counted["requests"], rows_read=counted["rowsRead"], rows_written=counted["rowsWritten"]
    )


def dollars_of(reply: Operations, replies: int = 1_000_000) -> float:
    """Return what so many replies cost, in dollars, before what a plan includes."""
    million_replies = sum((PRICES[name] * getattr(reply, name) for name in PRICES), 0.0)
    return million_replies * replies / 1_000_000


def agents_reply(tokens: int, rate: float, resumed: float) -> Operations:
    """Return what a reply costs with Cloudflare's agents (0.32), computed from their schema and not counted.

    They pack ten chunks into a row, beside a row for the stream; a row with its key and its index is billed as three.
    """
    rows = math.ceil(tokens / 10) + 1
    requests = 1 + resumed
    return Operations(requests, requests, tokens / rate, rows_read=resumed * rows, rows_written=3 * rows)
