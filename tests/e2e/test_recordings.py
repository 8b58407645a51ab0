"""The main job on recorded replies, through ``scripts/demo`` as a newcomer runs it.

Each recorded reply is streamed by an endpoint on the loopback at its recorded boundaries. It must arrive whole, be
resumed exactly after every cut, and be in the conversation afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseMessage, SseParser
from tests.support.endpoint import Endpoint, Reply
from tests.support.http import ALL_EVENTS
from tests.support.recordings import CHAT_RECORDINGS, join_recording, read_recording

ROOT = Path(__file__).parents[2]
FOLLOWERS = 24
CUTS = 60

pytestmark = pytest.mark.processes


@contextlib.asynccontextmanager
async def run_demo(database: Path, base_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Run ``scripts/demo`` against an endpoint; give a client for its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(ROOT / "scripts" / "demo"), f"--port={port}", f"--database={database}"]
    command += [f"--base-url={base_url}", "--model=recorded"]
    environment = {**os.environ, "OPENAI_API_KEY": "a key for nobody", "NO_PROXY": "127.0.0.1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        base_url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base_url, headers=ALL_EVENTS, trust_env=False, timeout=60) as client:
            async with asyncio.timeout(60):
                while True:
                    assert process.poll() is None, "scripts/demo ended"
                    with contextlib.suppress(httpx2.TransportError):
                        await client.get("/")
                        break
                    await asyncio.sleep(0.05)
            yield client
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def joined(messages: list[SseMessage], name: str = "") -> str:
    return "".join(message.data for message in messages if message.event == name)


async def resume(client: httpx2.AsyncClient, stream_id: str, after: str) -> list[SseMessage]:
    response = await client.get("/__aibind__/stream/resume", params={"id": stream_id, "after": after or "0"})
    assert response.status_code == 200
    return SseParser().feed(response.content)


async def follow_and_cut(client: httpx2.AsyncClient, stream_id: str, cut: int) -> list[SseMessage]:
    """Follow the live stream, cut the connection again and again after ``cut`` messages, and go on each time."""
    seen: list[SseMessage] = []
    last_id = "0"
    while True:
        parser = SseParser()
        count = 0
        url = f"/__aibind__/stream/resume?id={stream_id}&after={last_id}"
        async with client.stream("GET", url) as response:
            async for data in response.aiter_raw():
                messages = parser.feed(data)
                seen += messages
                count += len(messages)
                if messages and messages[-1].event == "done":
                    return seen
                if count >= cut:
                    break
        last_id = parser.last_event_id or last_id


@pytest.mark.parametrize("name", CHAT_RECORDINGS)
async def test_a_recorded_reply_through_the_demo(name: str, tmp_path: Path) -> None:
    lines = read_recording(name)
    expected = join_recording(lines)
    database = tmp_path / "chat.db"
    async with Endpoint(Reply(lines, delay_s=0.002)) as endpoint, run_demo(database, endpoint.base_url) as client:
        live: list[SseMessage] = []
        followers: list[asyncio.Task[list[SseMessage]]] = []
        parser = SseParser()
        body = {"prompt": "What was recorded?", "sessionId": "recorded"}
        async with client.stream("POST", "/__aibind__/stream", json=body) as response:
            stream_id = response.headers["x-stream-id"]
            followers = [asyncio.create_task(follow_and_cut(client, stream_id, cut + 1)) for cut in range(FOLLOWERS)]
            async for data in response.aiter_raw():
                live += parser.feed(data)
        assert live[-1].event == "done"
        assert joined(live) == expected.text
        assert joined(live, "reasoning") == expected.reasoning
        for messages in await asyncio.gather(*followers):
            assert joined(messages) == expected.text
            assert joined(messages, "reasoning") == expected.reasoning

        # Every message that was sent is a place where the connection may have been cut; some of them are tried.
        assert live[0].event == "stream-id"
        for cut in {*range(1, len(live), max(1, len(live) // CUTS)), 2, len(live) - 1}:
            seen = live[1:cut]
            last_id = next((message.id for message in reversed(seen) if message.id), "0")
            rest = await resume(client, stream_id, last_id)
            assert joined(seen + rest) == expected.text
            assert joined(seen + rest, "reasoning") == expected.reasoning
            assert joined(seen + rest, "tool_call") == joined(live, "tool_call")

    async with wrap_sqlite3(database) as local:
        chat = await SqliteMessageStore(local).load("recorded")
        contents = [message["content"] for message in chat.messages]
        assert contents == ["What was recorded?", expected.text]
