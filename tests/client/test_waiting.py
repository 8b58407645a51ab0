"""How long a follower waits when a server asks it to."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from aibind.client.calls import Answer, resume_call
from aibind.client.follower import ReplyFollower
from aibind.errors import ClientError

NOW_S = 1_800_000_000.0  # the server's clock, which is not ours


def wait_s(retry_after: str) -> float:
    """Return the wait after a 503, without jitter."""
    follower = ReplyFollower(resume_call("s1", 0), can_repeat=True, stream_id="s1", max_failures=10)
    follower.next_call()
    headers = {"retry-after": retry_after, "date": formatdate(NOW_S, usegmt=True)}
    assert not follower.open(503, headers)
    return follower.lost(follower.refuse(Answer(503, headers, b"")), 0)


@pytest.mark.parametrize(
    ("retry_after", "expected_s"),
    [
        ("3", 3),
        ("0", 0.25),
        ("1.5", 1.5),
        (formatdate(NOW_S + 7, usegmt=True), 7),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.25),  # the past
        ("nan", 0.25),
        ("inf", 0.25),
        ("-5", 0.25),
        ("soon", 0.25),
        ("", 0.25),
    ],
)
def test_seconds_and_dates_are_waited_for_and_nothing_else(retry_after: str, expected_s: float) -> None:
    assert wait_s(retry_after) == expected_s


@pytest.mark.parametrize("retry_after", ["61", formatdate(NOW_S + 3600, usegmt=True)])
def test_a_server_that_asks_for_more_than_a_minute_is_given_up(retry_after: str) -> None:
    with pytest.raises(ClientError):
        wait_s(retry_after)
