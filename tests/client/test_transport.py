"""What carries the client's requests: httpx2, anything with the same methods, and a Worker's fetch."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from aibind.client import AsyncClient, Client, ClientTransport, TransportResponse
from aibind.cloudflare import FetchTransport
from tests.support.http import serve

REPLY = b"id: s1\nevent: stream-id\ndata: s1\n\nid: 1\ndata: Hello\n\nevent: done\ndata: \n\n"


class Carried:
    """A transport that answers by itself, and notes what it is asked."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, bytes | None, float]] = []
        self.closed = 0

    async def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> TransportResponse:
        assert headers["authorization"] == "Bearer secret"
        self.asked.append((method, url, body, timeout_s))
        status, content = self.answers.pop(0)
        if not status:
            raise ConnectionResetError("gone")
        return Answered(self, status, content)

    async def aclose(self) -> None:
        raise AssertionError("a transport that was given stays open")


class Answered:
    def __init__(self, carried: Carried, status: int, content: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {"x-stream-id": "s1"}
        self._carried = carried
        self._content = content

    async def __aiter__(self) -> Any:
        for at in range(0, len(self._content), 10):
            yield self._content[at : at + 10]

    async def aclose(self) -> None:
        self._carried.closed += 1


async def test_any_transport_carries_the_client() -> None:
    carried = Carried(
        (0, b""), (200, REPLY[:50]), (200, REPLY[36:50]), (200, REPLY[36:]), (404, b'{"error": "No such session"}')
    )
    transport: ClientTransport = carried
    headers = {"authorization": "Bearer secret"}
    async with AsyncClient("http://chat.example", headers=headers, http=transport, timeout_s=7) as client:
        assert await client.ask("hi", request_id="r1").read() == "Hello"
        assert await client.open_session("a") is None
    posted = ("POST", "http://chat.example/__aibind__/stream", b'{"prompt":"hi"}', 7)
    assert carried.asked[:2] == [posted, posted]
    assert [(method, url.rpartition("/")[2]) for method, url, *_ in carried.asked[2:]] == [
        ("GET", "resume?id=s1&after=0"),
        ("GET", "resume?id=s1&after=0&short=true"),
        ("GET", "a"),
    ]
    assert carried.closed == 4


def test_a_workers_transport_says_where_it_works() -> None:
    for binding in (None, object()):
        with pytest.raises(RuntimeError, match="FetchTransport works inside a Cloudflare Worker"):
            FetchTransport(binding)


async def test_compressed_answers_are_read() -> None:
    """A proxy may compress what our servers send."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = REPLY if scope["path"].endswith("stream") else json.dumps({"sessions": [], "before": None}).encode()
        headers = [(b"content-encoding", b"gzip"), (b"x-stream-id", b"s1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": gzip.compress(body)})

    def read(url: str) -> tuple[str, int]:
        with Client(url) as client:
            return client.ask("hi").read(), len(client.list_sessions().sessions)

    async with serve(app) as url:
        async with AsyncClient(url) as client:
            assert await client.ask("hi").read() == "Hello"
            assert (await client.list_sessions()).sessions == ()
        assert await asyncio.to_thread(read, url) == ("Hello", 0)


async def test_a_client_of_httpx2_that_was_given_stays_open() -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        async with AsyncClient("http://127.0.0.1:1", http=http):
            pass
        assert not http.is_closed


def test_without_httpx2_the_asynchronous_client_needs_a_transport() -> None:
    program = """
import sys
sys.modules["httpx2"] = None
from aibind.client import AsyncClient
for make in (lambda: AsyncClient("http://localhost"), lambda: __import__("aibind.client").client.Client):
    try:
        make()
    except ImportError as error:
        print(error)
class Carrier:
    async def open(self): ...
    async def aclose(self): ...
print(AsyncClient("http://localhost", http=Carrier()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        'aibind.client needs httpx2: install it with pip install "aibind[http]"',
        'aibind.client.Client needs httpx2: install it with pip install "aibind[http]"; in a Worker use AsyncClient',
        "AsyncClient('http://localhost/__aibind__')",
    ]
