"""A clock that jumps, and clocks that differ: no live stream is given up, nothing is removed early or stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.processes.clocks import set_clock, two_servers
from tests.support.faked_time import needs_libfaketime

HOUR_S = 3600


async def jump(folder: Path, offset_s: int) -> None:
    folder.mkdir()
    async with two_servers(folder) as clocks:
        await set_clock(clocks, offset_s, words=3)


async def differ(folder: Path, offset_s: int) -> None:
    folder.mkdir()
    async with two_servers(folder, offset_s) as clocks:
        await set_clock(clocks, None, words=3)


@needs_libfaketime
async def test_a_clock_that_is_set_by_an_hour_in_mid_reply(tmp_path: Path) -> None:
    await asyncio.gather(jump(tmp_path / "ahead", HOUR_S), jump(tmp_path / "back", -HOUR_S))


@needs_libfaketime
async def test_clocks_that_differ_by_a_minute(tmp_path: Path) -> None:
    await asyncio.gather(differ(tmp_path / "ahead", 60), differ(tmp_path / "behind", -60))
