"""kill -9 of a server with twenty live turns: two rounds of what ``python -m tests.kills`` does a hundred times."""

from __future__ import annotations

import pytest

from tests.processes.kills import kill_rounds

pytestmark = pytest.mark.processes


@pytest.mark.timeout(300)
async def test_no_turn_is_lost_to_a_kill() -> None:
    result = await kill_rounds(2)
    assert result.turns == 40
    assert result.kept > 0
