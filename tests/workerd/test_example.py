"""examples/worker, unchanged, serving a chat over HTTP."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from aibind.streams import SseParser
from testbed.workerd.rig import Rig

from .client import Reader, read_sse, stream_id_of, text_of
from .streams import status_of, wait_for_end

RUNS_ON = ("py314", "py313-2026-04-01")
EVERY = ("py314", "py313", "py314-2026-04-01", "py313-2026-04-01", "py314-oldest")

STREAM = "/__aibind__/stream"


def wait_for_history(client: httpx2.Client, session_id: str, count: int) -> list[dict[str, Any]]:
    """Wait until a conversation has this many messages: a turn is saved when its reply has ended."""
    deadline = time.monotonic() + 60
    messages: list[dict[str, Any]] = []
    while len(messages) < count:
        assert time.monotonic() < deadline, f"The conversation has only {messages}"
        time.sleep(0.05)
        messages = client.get(f"/history/{session_id}").json()["messages"]
    return messages


def test_a_reply_streams_and_is_kept_in_the_conversation(prepared: Rig) -> None:
    with prepared.client("example") as client:
        first = read_sse(client.post(STREAM, json={"prompt": "/short", "sessionId": "kept"}))
        assert first[0].event == "stream-id"
        assert first[-1].event == "done"
        wait_for_history(client, "kept", 2)
        second = read_sse(client.post(STREAM, json={"prompt": "/short again", "sessionId": "kept"}))
        history = wait_for_history(client, "kept", 4)
    assert [(message["role"], message["content"]) for message in history] == [
        ("user", "/short"),
        ("assistant", text_of(first)),
        ("user", "/short again"),
        ("assistant", text_of(second)),
    ]
    assert status_of(prepared, first[0].data)["text"] == text_of(first)


def test_a_reply_is_resumed_exactly_after_every_prefix(prepared: Rig) -> None:
    with prepared.client("example") as client:
        response = client.post(STREAM, json={"prompt": "/short"})
        messages = read_sse(response)
        stream_id, whole = response.headers["x-stream-id"], text_of(messages)
        assert len(whole) > 100
        seen = ""
        ids = 0
        for message in messages:
            if message.event:
                continue
            seen += message.data
            ids += 1
            rest = read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id, "after": message.id}))
            assert seen + text_of(rest) == whole
            assert rest[-1].event == "done"
        assert ids > 20
        assert text_of(read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id}))) == whole


def test_a_reply_is_resumed_while_it_runs(prepared: Rig) -> None:
    with prepared.client("example") as client:
        with Reader(prepared.urls["example"], STREAM, {"prompt": "/long 150"}) as reader:
            received = reader.read_until("\nid: ", 20)
        beginning = SseParser().feed(received.partition(b"\r\n\r\n")[2].replace(b"\r\n", b""))
        stream_id = stream_id_of(received)
        rest = read_sse(client.get(f"{STREAM}/resume", params={"id": stream_id, "after": 1}))
    assert rest[-1].event == "done"
    status = wait_for_end(prepared, stream_id)
    assert status["state"] == "done"
    assert status["text"].endswith(text_of(rest))
    assert beginning[0].data == stream_id


def test_a_reply_is_stopped_by_another_request(prepared: Rig) -> None:
    body = {"prompt": "/long 2000", "sessionId": "stopped"}
    with Reader(prepared.urls["example"], STREAM, body) as reader, prepared.client("example") as client:
        stream_id = stream_id_of(reader.read_until("\nid: ", 10))
        assert client.post(f"{STREAM}/stop", json={"id": stream_id}).json() == {"ok": True}
        reader.read_until("event: done")
        assert b"event: stopped" in reader.received
        status = status_of(prepared, stream_id)
        assert status["state"] == "stopped"
        history = wait_for_history(client, "stopped", 2)
    assert [message["role"] for message in history] == ["user", "assistant"]
    assert history[1]["content"].startswith(status["text"])


def test_a_reply_is_completed_and_kept_when_its_client_leaves(prepared: Rig) -> None:
    with Reader(prepared.urls["example"], STREAM, {"prompt": "/long 100", "sessionId": "left"}) as reader:
        stream_id = stream_id_of(reader.read_until("\nid: ", 5))
    status = wait_for_end(prepared, stream_id)
    assert status["state"] == "done"
    with prepared.client("example") as client:
        history = wait_for_history(client, "left", 2)
    assert history[1] == {"role": "assistant", "content": status["text"]}


def test_the_cron_trigger_removes_what_has_expired(prepared: Rig) -> None:
    insert = "INSERT INTO aibind_stream_status (id, state, total_chunks, expires_at) VALUES (?, 'done', 1, ?)"
    for stream_id, expires_at in (("expired", 1), ("fresh", int(time.time() * 1000) + 60_000)):
        prepared.ask("checks", "/sql", {"sql": insert, "args": [stream_id, expires_at]})
        chunk = {"sql": "INSERT INTO aibind_stream_chunks VALUES (?, 1, 'x')", "args": [stream_id]}
        prepared.ask("checks", "/sql", chunk)
    prepared.command(scheduled="example", cron="*/10 * * * *")
    for table in ("status", "chunks"):
        rows = prepared.ask("checks", "/sql", {"sql": f"SELECT id FROM aibind_stream_{table}"})["rows"]
        assert "expired" not in {row["id"] for row in rows}
        assert "fresh" in {row["id"] for row in rows}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", STREAM, b"{", 400),
        ("POST", STREAM, b"{}", 400),
        ("GET", f"{STREAM}/resume?id=unknown", b"", 404),
        ("GET", f"{STREAM}/resume?id=x&after=abc", b"", 400),
        ("GET", "/nothing", b"", 404),
    ],
)
def test_a_wrong_request_gets_a_clear_answer(prepared: Rig, method: str, path: str, body: bytes, status: int) -> None:
    with prepared.client("example") as client:
        response = client.request(method, path, content=body)
    assert response.status_code == status
    assert "Traceback" not in response.text
