"""How long a reply lives: its client leaves, nothing holds it, its isolate is killed."""

from __future__ import annotations

import time
from typing import Any

import pytest

from aibind.streams import SseMessage
from testbed.workerd.rig import Rig

from .client import Reader, read_sse, text_of
from .streams import status_of, wait_for_end, wait_for_text, wait_until_still, words

RUNS_ON = ("py314",)
EVERY = ("py314", "py313", "py313-2026-04-01", "py314-oldest")  # with --every-combination

TOKENS = 60
RATE = 20


def _ask_for(stream_id: str, **how: Any) -> dict[str, Any]:
    return {"id": stream_id, "tokens": TOKENS, "rate": RATE, "keep_alive": True, "through": "entry", **how}


def _follow_from_elsewhere(rig: Rig, stream_id: str, *, lease_s: float) -> list[SseMessage]:
    """Follow a stream in another isolate, to its end: when its lease runs out, or soon after the first look."""
    rig.ask("second", "/sql", {"sql": "SELECT 1"})  # starts its Python, which takes a while
    looked_at = time.time()
    with rig.client("second") as client:
        messages = read_sse(client.post("/resume", json={"id": stream_id, "lease_ms": lease_s * 1000}))
    due = max(looked_at, status_of(rig, stream_id)["expires_at"] / 1000) + lease_s / 10
    assert time.time() < due + 15  # at once, that is: for a machine that stands still for seconds
    return messages


@pytest.mark.parametrize("through", ["asgi", "entry"])
def test_a_reply_is_completed_when_its_client_leaves(prepared: Rig, through: str) -> None:
    stream_id = f"left-{through}-{prepared.python.name}"
    with Reader(prepared.urls["checks"], "/produce", _ask_for(stream_id, through=through)) as reader:
        reader.read_until("word9")
    status = wait_for_end(prepared, stream_id)
    assert (status["state"], status["text"]) == ("done", words(TOKENS))


def test_the_sdks_asgi_adapter_holds_a_reply_by_itself(prepared: Rig) -> None:
    """It waits for its app, and the app for the reply; who streams without it has to say keep_alive."""
    stream_id = f"adapter-{prepared.python.name}"
    with Reader(prepared.urls["checks"], "/produce", _ask_for(stream_id, through="asgi", keep_alive=False)) as reader:
        reader.read_until("word9")
    assert wait_for_end(prepared, stream_id)["text"] == words(TOKENS)


def test_a_reply_that_nothing_holds_is_cut_short_and_its_producer_lost(prepared: Rig) -> None:
    stream_id = f"dropped-{prepared.python.name}"
    with Reader(prepared.urls["checks"], "/produce", _ask_for(stream_id, keep_alive=False, lease_ms=2000)) as reader:
        reader.read_until("word9")
    cut = wait_until_still(prepared, stream_id)
    assert cut["state"] == "active"
    assert words(TOKENS).startswith(cut["text"])
    assert cut["text"] != words(TOKENS)
    messages = _follow_from_elsewhere(prepared, stream_id, lease_s=2.0)
    assert [(message.event, message.data) for message in messages if message.event] == [
        ("error", "producer lost"),
        ("done", ""),
    ]
    assert text_of(messages) == cut["text"] == status_of(prepared, stream_id)["text"]


def test_a_killed_isolate_is_found_out_within_the_lease(prepared: Rig) -> None:
    stream_id = f"killed-{prepared.python.name}"
    lease_s = 6.0
    with Reader(
        prepared.urls["checks"], "/produce", _ask_for(stream_id, tokens=400, lease_ms=lease_s * 1000)
    ) as reader:
        reader.read_until("word29")
        stored = wait_for_text(prepared, stream_id, 20)
        prepared.kill()
    prepared.start()
    messages = _follow_from_elsewhere(prepared, stream_id, lease_s=lease_s)
    assert [message.event for message in messages if message.event] == ["error", "done"]
    assert "producer lost" in [message.data for message in messages]
    text = text_of(messages)
    assert text == status_of(prepared, stream_id)["text"]
    assert words(400).startswith(text)
    assert text.startswith(stored)


def test_requests_may_share_a_store(prepared: Rig) -> None:
    """A Worker's requests cannot wake each other: following and stopping both go through the database."""
    stream_id = f"shared-{prepared.python.name}"
    with Reader(prepared.urls["checks"], "/produce", _ask_for(stream_id, tokens=200, shared=True)) as reader:
        reader.read_until("word9")
        following = Reader(prepared.urls["checks"], "/resume", {"id": stream_id, "shared": True})
        with following as follower:
            follower.read_until("word15")
            prepared.ask("checks", "/stop", {"id": stream_id, "shared": True})
            follower.read_until("event: done")
        reader.read_until("event: done")
    for received in (reader.received, follower.received):
        assert b"event: stopped" in received
    assert status_of(prepared, stream_id)["state"] == "stopped"
