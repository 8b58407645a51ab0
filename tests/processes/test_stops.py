"""Stops that race the end: a few rounds of what ``python -m tests.stops`` does 2,000 times."""

from __future__ import annotations

import pytest

from tests.processes.stops import race_stops

pytestmark = pytest.mark.processes


@pytest.mark.timeout(300)
async def test_a_stop_leaves_one_text_and_one_end() -> None:
    result = await race_stops(60)
    assert result.wrong == []
    assert result.count == 60
    assert {end for _, _, end in result.ends} == {"done", "stopped"}
