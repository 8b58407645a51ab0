"""Replies are whole and exact over connections that break early; readers that leave are forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cuts import LIMITS, PIECES, read_over_cut_links
from .leaving import leave_silent_stream


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("live", [False, True], ids=["stored", "live"])
async def test_each_connection_brings_some_of_a_long_chunk(live: bool, limit: int, tmp_path: Path) -> None:
    read = await read_over_cut_links("mixed", 4000, limit, tmp_path / "streams.db", live=live)
    assert read.connections >= 8000 // limit, "connections were not cut"
    assert read.stuck == 0


@pytest.mark.parametrize("kind", sorted(set(PIECES) - {"mixed"}))
async def test_characters_that_take_many_bytes_are_cut_shorter(kind: str, tmp_path: Path) -> None:
    assert (await read_over_cut_links(kind, 1500, 1000, tmp_path / "streams.db")).stuck == 0


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
async def test_readers_that_leave_a_silent_stream_leave_nothing(elsewhere: bool, tmp_path: Path) -> None:
    remains = await leave_silent_stream(200, tmp_path / "streams.db", elsewhere=elsewhere)
    assert remains.futures <= 5
