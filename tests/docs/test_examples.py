"""Every program in examples/ is run, as a reader would run it."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import httpx2
import pytest

from aibind.streams import SseParser
from tests.support.sources import text_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# What a run prints, in part. The programs check themselves as well.
PRINTS = {
    "branches": ("The Danube. (2 of 2)", "Back to the first question", "1 message taken over from the other tab"),
    "langgraph_agent": ("Which river flows through Vienna? The Danube.", "How long is it? 2,850 km."),
    "own_model": ('"result":21', "degrees"),
    "own_store": ("passed: every text comes back as it was", "passed: a renewed lease holds"),
    "stream_and_resume": ("cut off after id", "the stream is done"),
    "two_processes": ("follower: read '1 2 3 ", "my source was closed", "the stream is stopped"),
}
SERVED = {"client", "server"}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTS.keys() | SERVED


async def run(*arguments: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("name", PRINTS)
async def test_example(name: str) -> None:
    output = await run(EXAMPLES / f"{name}.py")
    for expected in PRINTS[name]:
        assert expected in output


@asynccontextmanager
async def served(database: Path) -> AsyncIterator[str]:
    """Run examples/server.py on a port that is free; give its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / "server.py",
        "--port",
        "0",
        "--database",
        database,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = ""
        while "running on " not in said:
            line = (await process.stderr.readline()).decode()
            assert line, said
            said += line
        yield said.split("running on ")[1].split()[0]
    finally:
        process.terminate()
        await process.communicate()


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_server_that_is_shut_down_keeps_what_there_is(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        asking = {"prompt": "/long 5000", "sessionId": "me"}
        async with client.stream("POST", "/__aibind__/stream", json=asking) as response:
            stream_id = response.headers["x-stream-id"]
            async for data in response.aiter_raw():
                if b"##" in data:  # the first heading
                    break

    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        said = (await client.get("/sessions/me")).json()
        assert [message["role"] for message in said] == ["user", "assistant"]
        assert "##" in said[1]["content"]
        resumed = await client.get("/__aibind__/stream/resume", params={"id": stream_id})
        assert "event: error\ndata: The server was shut down\n" in resumed.text


class CuttingProxy:
    """A TCP proxy that cuts each connection in the middle of the answer, in turn by a FIN and by a RST.

    The first ``answers`` connections get about ``size`` bytes of their answer, head included; the others get none.
    """

    def __init__(self, url: str, size: int, answers: int = 1000) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._size = size
        self._answers = answers
        self.connections = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        size = self._size + 50 * number if number <= self._answers else 0  # more and more: no message is too large
        upstream, request = await asyncio.open_connection(self._host, self._port)
        answering = asyncio.create_task(self._answer(upstream, writer, size))
        asking = asyncio.create_task(_copy(reader, request))
        await asyncio.wait([answering, asking], return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        answering.cancel()
        if number % 2:
            await asyncio.sleep(0.05)  # a RST drops what the client has not read
            writer.transport.abort()
        for end in (request, writer):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> None:
        while left and (data := await reader.read(left)):
            left -= len(data)
            writer.write(data)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def test_client_resumes_when_its_connection_is_cut(tmp_path: Path) -> None:
    """The program has no say in it: the other end goes in the middle of a message."""
    async with served(tmp_path / "chat.db") as url:
        proxy = CuttingProxy(url, 400)
        async with proxy as proxied:
            output = await run(EXAMPLES / "client.py", proxied, "/short What is a river?")
            async with httpx2.AsyncClient(base_url=proxied, timeout=60, trust_env=False) as client:
                reply, connections = await load("client").ask(client, "/short What is a river?", 10_000)
        assert proxy.connections - connections > 2, "the program was cut off in both ways"
        assert (reply.done, reply.error) == (True, None)
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            whole = await client.get("/__aibind__/stream/resume", params={"id": reply.stream_id, "after": "0"})
        assert reply.text == text_of(SseParser().feed(whole.content))
        assert output.startswith(reply.text)
        assert "error: None" in output


async def test_client_gives_up_when_nothing_comes_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = load("client")
    monkeypatch.setattr(program, "PAUSE_S", 0.01)
    async with served(tmp_path / "chat.db") as url:
        proxy = CuttingProxy(url, 600, answers=1)
        async with proxy as proxied, httpx2.AsyncClient(base_url=proxied, timeout=60, trust_env=False) as client:
            with pytest.raises(httpx2.TransportError):
                await program.ask(client, "/short What is a river?")
        assert proxy.connections == 1 + program.MAX_FAILURES
        proxy = CuttingProxy(url, 1000, answers=0)
        async with proxy as proxied, httpx2.AsyncClient(base_url=proxied, timeout=60, trust_env=False) as client:
            with pytest.raises(httpx2.TransportError):
                await program.ask(client, "/short What is a river?")
        assert proxy.connections == program.MAX_FAILURES, "a question with an id can be asked again"


async def test_server_and_client(tmp_path: Path) -> None:
    """The client is cut off every three messages; the server is restarted between two turns of a conversation."""
    database = tmp_path / "chat.db"
    asking = {"prompt": "/short Hello there", "sessionId": "me"}
    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        reply, connections = await load("client").ask(client, "/short What is a river?", 3)
        assert (reply.done, reply.error) == (True, None)
        assert connections > 3
        whole = await client.get("/__aibind__/stream/resume", params={"id": reply.stream_id, "after": "0"})
        assert reply.text
        assert reply.text == text_of(SseParser().feed(whole.content))
        assert (await client.post("/__aibind__/stream", json=asking)).status_code == 200

    async with served(database) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.post("/__aibind__/stream", json=asking)).status_code == 200
        said = (await client.get("/sessions/me")).json()
        assert [message["role"] for message in said] == ["user", "assistant", "user", "assistant"]
        output = await run(EXAMPLES / "client.py", url, "/short Once more")
        assert "error: None" in output
