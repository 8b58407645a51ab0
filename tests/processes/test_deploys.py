"""Deploys while replies are under way: a short round of ``python -m tests.deploys``."""

from __future__ import annotations

import pytest

from tests.processes.deploys import deploy

pytestmark = pytest.mark.processes


@pytest.mark.timeout(200)
async def test_no_reply_is_lost_in_a_deploy() -> None:
    result = await deploy("restart", 12, max_words=30)
    assert result.wrong == []
    assert result.replies == 12
    assert len(result.old) <= 2
    assert not result.old & result.new
