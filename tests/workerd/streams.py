"""Looking at the streams in the rig's D1, past every store."""

from __future__ import annotations

import time
from typing import Any

from testbed.workerd.rig import Rig


def status_of(rig: Rig, stream_id: str) -> dict[str, Any]:
    """Return the row of a stream and the text of its chunks."""
    rows = rig.ask("checks", "/sql", {"sql": "SELECT * FROM aibind_stream_status WHERE id = ?", "args": [stream_id]})
    assert rows["rows"], f"There is no stream {stream_id}"
    sql = "SELECT data FROM aibind_stream_chunks WHERE id = ? ORDER BY seq"
    chunks = [row["data"] for row in rig.ask("checks", "/sql", {"sql": sql, "args": [stream_id]})["rows"]]
    return {**rows["rows"][0], "text": "".join(chunk.partition("\x01")[2] for chunk in chunks if chunk[:1] == "\x01")}


def wait_for_end(rig: Rig, stream_id: str, *, max_wait_s: float = 90) -> dict[str, Any]:
    """Wait until a stream is no longer active, and return its row and its text."""
    deadline = time.monotonic() + max_wait_s
    while (status := status_of(rig, stream_id))["state"] == "active":
        assert time.monotonic() < deadline, f"Stream {stream_id} does not end: {status}"
        time.sleep(0.1)
    return status


def wait_for_text(rig: Rig, stream_id: str, count: int, *, max_wait_s: float = 90) -> str:
    """Wait until this many words are stored, and return the text."""
    deadline = time.monotonic() + max_wait_s
    while len((text := status_of(rig, stream_id)["text"]).split()) < count:
        assert time.monotonic() < deadline, f"Stream {stream_id} does not go on: {text}"
        time.sleep(0.05)
    return str(text)


def wait_until_still(rig: Rig, stream_id: str, *, for_s: float = 1.5, max_wait_s: float = 90) -> dict[str, Any]:
    """Wait until nothing has been stored for a while, and return the row of the stream and its text."""
    deadline = time.monotonic() + max_wait_s
    status, still_since = status_of(rig, stream_id), time.monotonic()
    while time.monotonic() < still_since + for_s:
        assert time.monotonic() < deadline, f"Stream {stream_id} goes on: {status}"
        time.sleep(0.1)
        if (now := status_of(rig, stream_id)) != status:
            status, still_since = now, time.monotonic()
    return status


def words(count: int) -> str:
    """Return what the rig's model says."""
    return "".join(f"word{number} " for number in range(count))
