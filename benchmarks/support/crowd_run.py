"""A server and a crowd of followers, in a process each, and what they cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .child import Child, python
from .formats import OWN
from .measure import rss_mb
from .result import Figures

__all__ = ["CrowdOptions", "serve_crowd"]

SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class CrowdOptions:
    """How many followers of how many streams, in which wire format; ``rate`` is the tokens a second of each stream."""

    followers: int
    streams: int
    rate: float
    seconds: float
    format: str = OWN

    @property
    def tokens(self) -> int:
        """The tokens of each stream."""
        return max(1, round(self.seconds * self.rate))


@asynccontextmanager
async def serve_crowd(kind: str, path: Path, options: CrowdOptions) -> AsyncIterator[tuple[Figures, dict[str, Any]]]:
    """Run a server of :mod:`benchmarks.support.server_app` and a crowd, and yield their figures; the server still runs.

    Beside the figures come the server's port, its event loop and its HTTP parser.
    """
    import psutil

    async with Child(python("support.server_app", kind, path)) as server:
        serving = await server.hear()
        process = psutil.Process(server.pid)
        await asyncio.sleep(0.3)
        before = rss_mb(server.pid)
        limit_s = options.seconds + SETTLE_S
        counts = (options.streams, options.followers, options.tokens, options.rate)
        async with Child(python("support.crowd", serving["port"], *counts, limit_s, options.format)) as crowd:
            await crowd.hear()
            await asyncio.sleep(0.5)
            idle = peak = rss_mb(server.pid)
            cpu, began = sum(process.cpu_times()[:2]), time.perf_counter()
            await crowd.tell("go")
            hearing = asyncio.ensure_future(crowd.hear(limit_s + 60))
            busy = 0.0
            while not hearing.done():
                await asyncio.wait([hearing], timeout=0.25)
                peak = max(peak, rss_mb(server.pid))
                if not busy and time.perf_counter() - began >= options.seconds:
                    busy = (sum(process.cpu_times()[:2]) - cpu) / (time.perf_counter() - began)
            used_s = sum(process.cpu_times()[:2]) - cpu
            figures: Figures = await hearing
        figures |= {
            "kb_per_follower": round((peak - before) * 1000 / options.followers, 1),
            "idle_kb_per_follower": round((idle - before) * 1000 / options.followers, 1),
            "server_cpu_percent": round(100 * busy, 1),
            "cpu_us_per_token": round(used_s * 1e6 / (options.followers * options.tokens), 2),
        }
        yield figures, serving
