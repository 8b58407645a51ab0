"""The time that a server asks its clients to wait."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

__all__ = ["retry_after_s"]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, None when it does not. Names of ``headers`` are in lower case.

    It says so in ``retry-after-ms``, or in ``Retry-After`` as seconds or a date. A date counts from the server's own
    ``Date``, since its clock may not be ours.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(?:\.\d*)?", value):
            return float(value) * unit
    until_s = _seconds(headers.get("retry-after", ""))
    if until_s is None:
        return None
    now_s = _seconds(headers.get("date", ""))
    return max(0.0, until_s - (time.time() if now_s is None else now_s))


def _seconds(date: str) -> float | None:
    """Return a date of HTTP in seconds since the epoch; None for anything else."""
    from email.utils import parsedate_to_datetime  # a Worker's start-up is billed

    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
