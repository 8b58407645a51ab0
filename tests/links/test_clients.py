"""A few rounds of ``python -m tests.client_links``: our own clients over bad links, and what remains of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.client_links import is_leak

from .clients import leave_many, read_through_cuts, read_through_cuts_without_a_loop, replies_to_read


async def test_replies_are_exact_over_links_that_carry_200_bytes(tmp_path: Path) -> None:
    told = replies_to_read(10, 400, 1)
    assert await read_through_cuts(told, 200, tmp_path / "streams.db") > 5 * len(told)


async def test_and_so_they_are_without_an_event_loop(tmp_path: Path) -> None:
    told = replies_to_read(4, 300, 2)
    assert await read_through_cuts_without_a_loop(told, 200, tmp_path / "streams.db") > 5 * len(told)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the file descriptors that Linux lists")
@pytest.mark.parametrize("with_a_loop", [True, False])
async def test_nothing_remains_of_connections(with_a_loop: bool, tmp_path: Path) -> None:
    held = await leave_many(100, tmp_path / "streams.db", with_a_loop=with_a_loop)
    assert not is_leak(held, 100), held
