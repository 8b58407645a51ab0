"""One client that takes what it can get: a short round of the campaign ``python -m tests.hostile``."""

from __future__ import annotations

from aibind.server import Limits
from aibind.server.bodies import MAX_PENDING_BODY_BYTES
from tests.support.hostile import crowd, slow_bodies


async def test_a_crowd_of_one_client_is_limited_and_another_one_answered() -> None:
    most = Limits().streams_per_owner
    assert most is not None
    seen = await crowd(200, most + 30, unlimited=False, rounds=5)
    assert seen.answers == {"silent 200": 20, "stream 200": most - 20, "stream 429": 50, "follower 200": 200}
    assert len(seen.there.all_ms) >= 5


async def test_slow_bodies_do_not_add_up() -> None:
    grown_mb, answers = await slow_bodies(20, 2_000_000)
    assert grown_mb * 1e6 < 1.5 * MAX_PENDING_BODY_BYTES
    assert answers[429] + answers[0] == 20
