"""A few requests of the campaign ``python -m tests.retries``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.retries import retry_after_kills, retry_requests


@pytest.mark.timeout(300)
async def test_a_repeated_request_is_answered_once(tmp_path: Path) -> None:
    result = await retry_requests(40, tmp_path, seed=1)
    assert result.attempts > 100
    assert min(result.lost_here, result.lost_elsewhere) > 10


@pytest.mark.timeout(300)
async def test_a_request_is_asked_once_although_its_server_is_killed(tmp_path: Path) -> None:
    result = await retry_after_kills(2, tmp_path, seed=1)
    assert result.answered + result.lost == result.requests
