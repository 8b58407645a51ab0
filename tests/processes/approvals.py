"""kill -9 around an approval: between the question and the answer, between the answer and the tool, and in the tool."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2

__all__ = ["ApprovalRounds", "approval_rounds"]

MOMENT_S = 0.2
"""The longest time, in seconds, from a request to the kill: about what the request takes."""

PATIENCE_S = 30


@dataclass(slots=True)
class ApprovalRounds:
    """The calls that were allowed while processes were killed, and what was wrong."""

    rounds: int = 0
    kills: int = 0
    retries: int = 0
    began: Counter[int] = field(default_factory=Counter[int])
    unknown: int = 0
    wrong: list[str] = field(default_factory=list[str])


class _Server:
    """A process on the database, and its address."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx2.AsyncClient) -> None:
        self.process = process
        self.client = client

    @classmethod
    async def start(cls, database: Path, ledger: Path) -> _Server:
        command = (sys.executable, "-m", "tests.support.approval_server", str(database), str(ledger))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        base_url = f"http://127.0.0.1:{int(await process.stdout.readline())}/__aibind__"
        return cls(process, httpx2.AsyncClient(base_url=base_url, trust_env=False, timeout=60))

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self.client.aclose()


async def approval_rounds(rounds: int, seed: int = 0) -> ApprovalRounds:
    """Ask, allow and kill so many times, and compare what was done with what is told of it."""
    random = Random(seed)
    result = ApprovalRounds()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            # A database and a ledger a round, so that what is in them is this round's.
            place = Path(folder) / str(number)
            place.mkdir()
            await _round(place, random, result)
    return result


async def _round(place: Path, random: Random, result: ApprovalRounds) -> None:
    ledger = place / "ledger"
    ledger.touch()
    starting = [_Server.start(place / "chat.db", ledger) for _ in range(4)]
    servers = list(await asyncio.gather(*starting))
    try:
        await _play(servers, random, result, ledger)
    finally:
        await asyncio.gather(*(server.kill() for server in servers))


async def _play(servers: list[_Server], random: Random, result: ApprovalRounds, ledger: Path) -> None:
    """Let each server but the last be killed in the middle of something."""
    first, *others, last = servers
    body = {"prompt": "Act", "sessionId": "s", "toolset": "hands"}
    await _cut(first, random, result, _post(first, "/stream", body))
    retries = 0
    reported = 0
    for server in (*others, last):
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        is_cut = False
        asking: Any
        while not is_cut:
            if asyncio.get_running_loop().time() > deadline:
                result.wrong.append("It did not come to its end")
                return
            session = (await server.client.get("/sessions/s")).json()
            waiting: list[dict[str, Any]] = session.get("approvals", [])
            if session.get("liveStream"):
                await asyncio.sleep(0.02)
                continue
            if not waiting:
                if _is_acted(session):
                    break
                asking = _post(server, "/stream", body)  # it was killed before it had asked
            else:
                [call] = waiting
                answer: Any = True
                if call["state"] == "unknown":
                    if call["attempts"] > reported:
                        reported = call["attempts"]
                        result.unknown += 1
                    refused = await server.client.post("/sessions/s/approvals", json={"approvals": {call["id"]: True}})
                    if refused.status_code == 200:
                        await refused.aread()  # the reply that was ended in the middle
                    retries = call["attempts"]
                    answer = {"retry": call["attempts"]}
                asking = asyncio.gather(
                    *(
                        _post(one, "/sessions/s/approvals", {"approvals": {call["id"]: answer}})
                        for one in {server, last}  # two processes at once
                    )
                )
            if server is last:
                await asking
            else:
                is_cut = await _cut(server, random, result, asking)
    noted = Counter(ledger.read_text().split())
    session = (await last.client.get("/sessions/s")).json()
    if not _is_acted(session):
        result.wrong.append(f"The conversation does not say that it was done: {session}")
    if not 1 <= noted["begin"] <= 1 + retries or not noted["end"]:
        result.wrong.append(f"It was begun {noted['begin']} times and told to try again {retries} times")
    result.began[noted["begin"] - retries] += 1
    result.retries += retries
    result.rounds += 1


def _is_acted(session: dict[str, Any]) -> bool:
    messages = [one["message"] for one in session.get("messages", [])]
    return any(message.get("content") == '"acted"' for message in messages)


async def _post(server: _Server, path: str, body: Any) -> None:
    with contextlib.suppress(httpx2.HTTPError):  # it was killed
        async with server.client.stream("POST", path, json=body) as response:
            async for _ in response.aiter_raw():
                pass


async def _cut(server: _Server, random: Random, result: ApprovalRounds, asking: Any) -> bool:
    """Kill a server at a random moment after a request; return whether the request was under way, or just ended."""
    task = asyncio.ensure_future(asking)
    await asyncio.sleep(random.uniform(0, MOMENT_S))
    await server.kill()
    result.kills += 1
    await task
    return True
