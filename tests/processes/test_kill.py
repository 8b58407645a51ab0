"""kill -9 in mid-reply: the text that was flushed is there, readers are told, and the conversation goes on."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from pathlib import Path

import httpx2
import pytest

from aibind.sqlite import SqliteConversationStore, SqliteStreamStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.sources import text_of

LEASE_MS = 1500
pytestmark = pytest.mark.processes


def counted(text: str) -> int:
    """Check that a text is an unbroken count, and tell how far it goes."""
    numbers = text.split()
    assert text == "".join(f"{number} " for number in range(len(numbers)))
    return len(numbers)


async def read_until_killed(url: str, kill_at: float, kill: asyncio.Event) -> tuple[str, str]:
    """Ask, read, have the server killed after so many seconds; return the stream's id and the text that came."""
    parser = SseParser()
    messages = []
    stream_id = ""
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        asyncio.get_running_loop().call_later(kill_at, kill.set)
        try:
            body = {"prompt": "100000", "sessionId": "s"}
            async with client.stream("POST", url + "/stream", json=body) as response:
                stream_id = response.headers["x-stream-id"]
                async for data in response.aiter_raw():
                    messages += parser.feed(data)
        except httpx2.HTTPError:
            pass
    return stream_id, text_of(messages)


@pytest.mark.parametrize("seed", range(10))
async def test_kill_in_mid_reply(seed: int, tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    kill_at = random.Random(seed).uniform(0.05, 0.9)
    with run_server(database, lease_ms=LEASE_MS, rate=400) as (process, url):
        kill = asyncio.Event()
        reading = asyncio.ensure_future(read_until_killed(url, kill_at, kill))
        await kill.wait()
        process.kill()
        killed_at = time.monotonic()
        stream_id, seen = await reading

    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = connection.execute("SELECT seq, data FROM aibind_stream_chunks WHERE id = ?", (stream_id,)).fetchall()
    connection.close()
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    flushed = "".join(data.removeprefix("\x01") for _, data in rows)
    assert counted(flushed) >= counted(seen) - 20, "more than the last few milliseconds were lost"

    with run_server(database, lease_ms=LEASE_MS, rate=400) as (_, url):
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            response = await client.get(f"{url}/stream/resume", params={"id": stream_id})
            messages = SseParser().feed(response.content)
            assert time.monotonic() - killed_at < LEASE_MS / 1000 + 4
            assert [(message.event, message.data) for message in messages[-2:]] == [
                ("error", "producer lost"),
                ("done", ""),
            ]
            assert text_of(messages) == flushed

            response = await client.post(f"{url}/stream", json={"prompt": "5", "sessionId": "s"})
            assert text_of(SseParser().feed(response.content)) == "0 1 2 3 4 "
    async with wrap_sqlite3(database) as local:
        chat = await SqliteConversationStore(local).load("s")
        contents = [message["content"] for message in chat.messages]
        assert contents == ["100000", *([flushed] if flushed else []), "5", "0 1 2 3 4 "]
        status = await SqliteStreamStore(local).get_status(stream_id)
        assert status is not None


async def test_stop_from_another_process(tmp_path: Path) -> None:
    """Within a second the stream has ended for its reader, and the model's generator is closed."""
    database, note = tmp_path / "chat.db", tmp_path / "note"
    with run_server(database, rate=100, note=note) as (_, url):
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client, wrap_sqlite3(database) as local:
            async with client.stream("POST", url + "/stream", json={"prompt": "100000"}) as response:
                parser = SseParser()
                messages = []
                stopped_at = 0.0
                async for data in response.aiter_raw():
                    messages += parser.feed(data)
                    if len(messages) > 20 and not stopped_at:
                        stopped_at = time.monotonic()
                        await SqliteStreamStore(local).stop(response.headers["x-stream-id"])
                took = time.monotonic() - stopped_at
            assert [message.event for message in messages[-2:]] == ["stopped", "done"]
            assert took < 1
            assert note.read_text() == "closed"
            counted(text_of(messages))


async def test_stop_through_another_server(tmp_path: Path) -> None:
    database, note = tmp_path / "chat.db", tmp_path / "note"
    with run_server(database, rate=0.2, note=note) as (_, url), run_server(database) as (_, other):
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            # The model thinks for five seconds before its first word: there is no write at which to notice.
            asked = asyncio.ensure_future(client.post(url + "/stream", json={"prompt": "100"}))
            async with wrap_sqlite3(database) as local:
                async with asyncio.timeout(10):
                    while not (found := (await local.execute("SELECT id FROM aibind_stream_status")).rows):
                        await asyncio.sleep(0.01)
            response = await client.post(other + "/stream/stop", json={"id": found[0]["id"]})
            assert response.json() == {"ok": True}
            async with asyncio.timeout(1):
                messages = SseParser().feed((await asked).content)
            assert [message.event for message in messages] == ["stream-id", "stopped", "done"]
            assert note.read_text() == "closed"
