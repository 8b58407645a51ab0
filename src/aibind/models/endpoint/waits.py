"""The waits between attempts to reach an endpoint."""

from __future__ import annotations

__all__ = ["wait_s"]


def wait_s(backoff_s: float, attempt: int, limit_s: float = float("inf")) -> float:
    """Return the seconds to wait after so many attempts: they double, shortened at random by up to a half."""
    import random  # here: importing it seeds a generator, and a Worker has no randomness while it starts

    jitter = 1 - random.random() / 2
    return min(limit_s, backoff_s * 2.0**attempt) * jitter
