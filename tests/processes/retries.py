"""Requests whose answers are lost, repeated at two servers on one file, and what became of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from aibind.sqlite import SqliteMessageStore, wrap_sqlite3
from aibind.streams import SseParser
from tests.processes.support import run_server
from tests.support.sources import text_of

__all__ = ["Killed", "Retried", "retry_after_kills", "retry_requests"]

AT_ONCE = 20
WORDS = 15
TEXT = "".join(f"{number} " for number in range(WORDS))


@dataclass(frozen=True, slots=True)
class Retried:
    """The sums of a campaign: requests, attempts at them, and attempts whose answer was lost at either server."""

    requests: int
    attempts: int
    lost_here: int
    lost_elsewhere: int


@dataclass(slots=True)
class _Reply:
    """What one attempt brought."""

    status: int
    stream_id: str
    text: str


async def retry_requests(count: int, folder: Path, seed: int = 0) -> Retried:
    """Ask so many requests, losing answers; raise AssertionError unless each was answered once."""
    random = Random(seed)
    database, calls = folder / "chat.db", folder / "calls"
    sums = Counter[str]()
    options = {"rate": 300, "messages": True, "calls": calls}
    with run_server(database, **options) as (_, first), run_server(database, **options) as (_, second):
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(number: int, chance: Random) -> None:
            async with gate:
                await _ask(f"request {number}", (first, second), chance, sums)

        await asyncio.gather(*(ask(number, Random(random.random())) for number in range(count)))
    asked = Counter(calls.read_text().splitlines())
    assert asked == dict.fromkeys((f"request {number}" for number in range(count)), 1), asked - Counter(set(asked))
    async with wrap_sqlite3(database) as client:
        streams = (await client.execute("SELECT state FROM aibind_stream_status")).rows
        assert [row["state"] for row in streams] == ["done"] * count
        store = SqliteMessageStore(client)
        for session in await store.list_sessions(limit=count + 1):
            chat = await store.load(session.session_id)
            assert [message["content"] for message in chat.messages] == [str(WORDS), TEXT]
            assert chat.size == 2, f"{session.session_id} has another version of something"
            sums["sessions"] += 1
    assert sums["sessions"] == sums["in sessions"]
    return Retried(count, sums["attempts"], sums["lost here"], sums["lost elsewhere"])


async def _ask(name: str, servers: tuple[str, str], chance: Random, sums: Counter[str]) -> None:
    """Repeat a request until it has been answered twice in full, and check that both answers are the same."""
    body = {"system": name}
    endpoint = chance.choice(["stream", "stream", "chat"])
    if endpoint == "chat":
        body |= {"messages": [{"role": "user", "content": str(WORDS)}]}  # type: ignore[dict-item]
    else:
        body |= {"prompt": str(WORDS), "sessionId": name}
        sums["in sessions"] += 1
    where = chance.randrange(2)
    replies: list[_Reply] = []
    losses = chance.randint(1, 3)
    attempts: list[asyncio.Task[_Reply | None]] = []
    for number in range(losses + 2):
        cut = chance.choice(["sent", "begun", "in between"]) if number < losses else None
        elsewhere = bool(chance.randrange(2))
        sums["attempts"] += 1
        if cut:
            sums["lost elsewhere" if elsewhere else "lost here"] += 1
        url = f"{servers[where ^ elsewhere]}/{endpoint}"
        attempts.append(asyncio.create_task(_post(url, name, body, cut)))
        if chance.random() < 0.7:
            await asyncio.wait([attempts[-1]])  # the others cross
    for attempt in attempts:
        reply = await attempt
        if reply is not None:
            replies.append(reply)
    assert {(reply.status, reply.text) for reply in replies} == {(200, TEXT)}, replies
    assert len(replies) == 2
    assert len({reply.stream_id for reply in replies}) == 1, replies


async def _post(url: str, name: str, body: object, cut: str | None) -> _Reply | None:
    """Send a request, and read its answer as far as ``cut`` says."""
    address = urlsplit(url)
    data = json.dumps(body).encode()
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nIdempotency-Key: {name.replace(' ', '-')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(head.encode() + data)
        await writer.drain()
        if cut == "sent":
            return None
        if cut == "begun":
            await reader.readuntil(b"\r\n\r\n")
            return None
        if cut == "in between":
            await reader.readuntil(b"data: 0 ")
            await reader.read(100)
            return None
        answer, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status, *lines = answer.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    messages = SseParser().feed(_joined(rest) if headers.get("transfer-encoding") == "chunked" else rest)
    assert [message.event for message in messages[:1]] == ["stream-id"], answer + rest
    return _Reply(int(status.split()[1]), headers.get("x-stream-id", ""), text_of(messages))


def _joined(chunked: bytes) -> bytes:
    """Decode the chunked coding of a whole body."""
    data = b""
    while True:
        size, _, chunked = chunked.partition(b"\r\n")
        if int(size, 16) == 0:
            return data
        data, chunked = data + chunked[: int(size, 16)], chunked[int(size, 16) + 2 :]


@dataclass(frozen=True, slots=True)
class Killed:
    """The sums of a campaign with kills: requests, those that were answered in full, and those whose reply was lost."""

    requests: int
    answered: int
    lost: int


async def retry_after_kills(rounds: int, folder: Path, seed: int = 0) -> Killed:
    """Kill a server as requests begin, and repeat them at another; raise AssertionError unless each is asked once."""
    random = Random(seed)
    answered = lost = 0
    for number in range(rounds):
        database, calls = folder / f"{number}.db", folder / f"calls {number}"
        calls.touch()
        options = {"rate": 300, "messages": True, "calls": calls, "lease_ms": 800}
        names = [f"request {place}" for place in range(AT_ONCE)]
        with run_server(database, **options) as (_, second):
            with run_server(database, **options) as (process, first):
                asked = [asyncio.create_task(_lose(first, name)) for name in names]
                await asyncio.sleep(random.uniform(0.0, 0.08))
                process.kill()
                await asyncio.wait(asked)
            replies = await asyncio.gather(*(_post(f"{second}/stream", name, _body(name), None) for name in names))
        asked_for = Counter(calls.read_text().splitlines())
        async with wrap_sqlite3(database) as client:
            for name, reply in zip(names, replies, strict=True):
                assert reply is not None
                assert asked_for[name] <= 1, f"the model was asked {asked_for[name]} times"
                chat = await SqliteMessageStore(client).load(name)
                said = [message["content"] for message in chat.messages]
                questions = sum(message["role"] == "user" for message in chat.messages)
                assert (chat.size, questions) == (len(said), 1), said
                assert TEXT.startswith(reply.text), reply
                answered += reply.text == TEXT
                lost += reply.text != TEXT
    return Killed(rounds * AT_ONCE, answered, lost)


def _body(name: str) -> dict[str, object]:
    return {"system": name, "prompt": str(WORDS), "sessionId": name}


async def _lose(server: str, name: str) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await _post(f"{server}/stream", name, _body(name), "in between")
