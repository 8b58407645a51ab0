"""Asking each of several workers about a reply that one of them produces."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from aibind.streams import SseParser
from tests.support.sources import text_of
from tests.support.workers import WORKERS, run_workers

__all__ = ["Answers", "ask_workers"]

WORDS = 300
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Answers:
    """The seconds that workers took to answer for a reply of another, by the process id of the one that answered.

    ``opened_s`` is the time to the page of the session, ``attached_s`` that to the first piece of the reply.
    """

    opened_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    attached_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def are_from_all(self) -> bool:
        """Whether each worker has opened a session, and attached to a reply, of another."""
        return len(self.opened_s) == len(self.attached_s) == WORKERS


async def ask_workers(database: Path, rounds: int = 1) -> Answers:
    """Start ``rounds`` replies or more, until each worker has answered for a reply of another.

    Each request takes a new connection, which any of the workers may accept. Raises AssertionError for an answer that
    is not whole.
    """
    answers = Answers()
    with run_workers(database) as url:
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_S, limits=limits) as client:
            number = 0
            deadline = time.monotonic() + PATIENCE_S
            while number < rounds or not answers.are_from_all:
                assert number < rounds or time.monotonic() < deadline, f"Only these have answered: {answers}"
                await _follow_one(client, f"session {number}", answers)
                number += 1
    return answers


async def _follow_one(client: httpx2.AsyncClient, session_id: str, answers: Answers) -> None:
    """Begin a reply, and ask for it again and again."""
    whole = "".join(f"{number} " for number in range(WORDS))
    body = {"prompt": str(WORDS), "sessionId": session_id}
    async with client.stream("POST", "/stream", json=body) as response:
        stream_id, producer = response.headers["x-stream-id"], response.headers["x-worker"]
        for _ in range(2 * WORKERS):
            began = time.perf_counter()
            page = await client.get(f"/sessions/{session_id}")
            elapsed = time.perf_counter() - began
            assert page.json()["liveStream"] == stream_id
            if page.headers["x-worker"] != producer:
                answers.opened_s[page.headers["x-worker"]].append(elapsed)

        async def attach() -> str:
            began = time.perf_counter()
            async with client.stream("GET", f"/sessions/{session_id}/stream") as reply:
                assert reply.headers["x-stream-id"] == stream_id
                data = b""
                async for piece in reply.aiter_raw():
                    if not data and reply.headers["x-worker"] != producer:
                        answers.attached_s[reply.headers["x-worker"]].append(time.perf_counter() - began)
                    data += piece
            return text_of(SseParser().feed(data))

        followers: list[asyncio.Task[str]] = []
        for _ in range(2 * WORKERS):
            followers.append(asyncio.create_task(attach()))
            await asyncio.sleep(0.03)
        assert set(await asyncio.gather(*followers)) == {whole}
        assert text_of(SseParser().feed(await response.aread())) == whole
