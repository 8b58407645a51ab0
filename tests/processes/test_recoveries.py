"""kill -9 and recovery in every place of a conversation: two rounds of ``python -m tests.recoveries``."""

from __future__ import annotations

import pytest

from tests.processes.recoveries import CASES, kill_and_recover
from tests.processes.tool_kills import TURNS, kill_in_rounds

pytestmark = pytest.mark.processes


@pytest.mark.timeout(300)
async def test_lost_answers_are_found_wherever_they_are() -> None:
    result = await kill_and_recover(2)
    assert result.wrong == []
    assert [result.answers[case] for case in CASES] == [2, 2, 6, 2, 2]
    assert result.words > 0


@pytest.mark.timeout(300)
async def test_rounds_of_tools_are_found_as_they_were_flushed() -> None:
    result = await kill_in_rounds(1)
    assert result.wrong == []
    assert result.turns == TURNS
    assert result.results > 0
