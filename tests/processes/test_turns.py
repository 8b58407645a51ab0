"""No turn is lost that five processes save at the same time. All rounds: ``python -m tests.turns``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibind.sqlite import migrate, wrap_sqlite3
from tests.processes.turns import Crowd, open_crowd

ROUNDS = 3

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


@pytest.fixture
async def crowd(tmp_path: Path) -> AsyncIterator[Crowd]:
    path = tmp_path / "chat.db"
    async with wrap_sqlite3(path) as client:
        await migrate(client)
    with open_crowd(path) as crowd:
        yield crowd


@pytest.mark.parametrize("store", ["messages", "conversations"])
async def test_fifty_turns_at_once_are_all_kept(store: str, crowd: Crowd) -> None:
    losses = await crowd.play(store, ROUNDS)
    assert (losses.turns, losses.lost, losses.refused) == (50 * ROUNDS, 0, 0), losses
    assert (await crowd.play("blind", 1)).lost > 0  # else the turns were not at the same time


async def test_a_blind_writer_loses_none_of_its_turns_to_us(crowd: Crowd) -> None:
    losses = await crowd.play_beside_a_blind_writer(ROUNDS)
    assert losses.refused == 0, losses
    assert (losses.blind_turns, losses.blind_lost) == (10 * ROUNDS, 0), losses
