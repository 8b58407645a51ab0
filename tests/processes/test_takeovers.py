"""A reply goes on when its server is killed or suspended, and every reader has one text, once."""

from __future__ import annotations

from tests.processes.takeovers import kill_and_take_over, stop_and_take_over


async def test_a_killed_servers_replies_go_on_at_another() -> None:
    result = await kill_and_take_over(2, seed=1)
    assert result.wrong == []
    assert (result.replies, result.generated) == (6, 6)
    assert result.taken_over > 0  # but for replies that had just ended


async def test_a_suspended_server_stores_nothing_once_another_has_gone_on() -> None:
    result = await stop_and_take_over(1, seed=1)
    assert result.wrong == []
    assert result.generated == result.replies == 2
