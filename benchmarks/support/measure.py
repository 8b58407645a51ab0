"""Clocks, percentiles and memory."""

from __future__ import annotations

import os
import resource
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .result import Figures, Say

__all__ = [
    "cpu_seconds",
    "delay_figures",
    "interleave",
    "median_figures",
    "percentile",
    "reset_peak",
    "rss_mb",
    "rss_peak_mb",
]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` in a hundred of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def delay_figures(delays_ms: Sequence[float]) -> Figures:
    """Sum up delays in milliseconds."""
    return {
        "p50_ms": round(percentile(delays_ms, 50), 3),
        "p99_ms": round(percentile(delays_ms, 99), 3),
        "max_ms": round(max(delays_ms), 3),
        "count": len(delays_ms),
    }


def median_figures(rounds: Sequence[Figures]) -> Figures:
    """Join the figures of several rounds: of each number the median, and under ``range`` the smallest and largest."""
    if len(rounds) == 1:
        return rounds[0]
    joined: Figures = {}
    spread: Figures = {}
    for name, value in rounds[0].items():
        values = [figures[name] for figures in rounds]
        if isinstance(value, Mapping):
            joined[name] = median_figures(values)
        elif isinstance(value, (int, float)) and min(values) != max(values):
            joined[name] = _rounded(statistics.median(values))
            spread[name] = [_rounded(min(values)), _rounded(max(values))]
        else:
            joined[name] = value
    if spread:
        joined["range"] = spread
    return joined


def interleave(contenders: Mapping[str, Callable[[], Figures]], rounds: int, say: Say) -> dict[str, Figures]:
    """Run each contender once a round, in turns, so that what else the machine does strikes all of them alike."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            say(f"round {number + 1} of {rounds}: {name}")
            found[name].append(run())
    return {name: median_figures(figures) for name, figures in found.items()}


def rss_mb(pid: int | None = None) -> float:
    """Return the resident memory of a process, in megabytes (of 1,000,000 bytes)."""
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1e6


def reset_peak() -> None:
    """Forget this process's peak of resident memory so far, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def rss_peak_mb() -> float:
    """Return the peak of this process's resident memory since its start, or since the peak was reset."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def cpu_seconds() -> float:
    """Return the processor time that this process has used, in seconds."""
    times = os.times()
    return times.user + times.system


def _rounded(value: Any) -> Any:
    """Keep four significant digits."""
    return value if isinstance(value, int) or value == 0 else float(f"{value:.4g}")
