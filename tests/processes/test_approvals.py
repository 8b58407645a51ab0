"""An approval asked in one process and answered in others, which are killed: see ``python -m tests.approvals``."""

from __future__ import annotations

import pytest

from tests.processes.approvals import approval_rounds

pytestmark = pytest.mark.processes


@pytest.mark.timeout(120)
async def test_a_call_is_run_once_whatever_is_killed() -> None:
    result = await approval_rounds(2, seed=3)
    assert result.wrong == []
    assert result.rounds == 2
    assert result.kills >= 4
