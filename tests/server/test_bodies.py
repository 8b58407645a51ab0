"""Bodies that are large, slow or many, over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aibind.errors import RequestError
from aibind.server import StreamHandler, create_app
from aibind.server.bodies import SMALL_BYTES, BodyReader
from tests.support.http import serve
from tests.support.models import PATIENCE_S, ScriptedModel

BODY = b'{"prompt": "' + b"x" * (200 * 1024) + b'"}'


class Upload:
    """A request whose body arrives in parts."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)

    async def open(self, length: int) -> Upload:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"POST /__aibind__/stream HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        self._writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode())
        return self

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], str]:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        self._writer.close()
        return int(head[0].split()[1]), headers, json.loads(body)["error"] if body else ""


async def test_a_body_that_takes_too_long() -> None:
    app = create_app(StreamHandler(model=ScriptedModel("x")), body_timeout_s=0.2)
    async with serve(app) as url:
        upload = await Upload(url).open(100)
        await upload.send(b'{"prompt"')
        status, _, error = await upload.answer()
        assert status == 408
        assert "0.2 s" in error
        assert "body_timeout_s" in error


async def test_bodies_that_together_hold_too_much() -> None:
    app = create_app(StreamHandler(model=ScriptedModel("x")), max_pending_body_bytes=len(BODY) + 100 * 1024)
    async with serve(app) as url:
        slow = await Upload(url).open(len(BODY))
        await slow.send(BODY[:100])
        await asyncio.sleep(0.2)
        large = await Upload(url).open(len(BODY))
        status, headers, error = await large.answer()
        assert (status, headers["retry-after"]) == (429, "5")
        assert f"{len(BODY):,} bytes" in error
        assert f"allows {len(BODY) + 100 * 1024:,} at one time (max_pending_body_bytes)" in error
        for _ in range(5):  # prompts are taken nevertheless
            small = await Upload(url).open(SMALL_BYTES)
            await small.send(b'{"prompt": "' + b"x" * (SMALL_BYTES - 14) + b'"}')
            assert (await small.answer())[0] == 200
        fits = await Upload(url).open(100 * 1024)
        await fits.send(b" " * (100 * 1024))
        assert (await fits.answer())[0] == 400
        await slow.send(BODY[100:])
        assert (await slow.answer())[0] == 200
        large = await Upload(url).open(len(BODY))  # what has been read is given back
        await large.send(BODY)
        assert (await large.answer())[0] == 200


@pytest.mark.parametrize(("size", "fits"), [(149, True), (150, True), (151, False)])
async def test_bodies_of_undeclared_size_count_as_they_come(size: int, fits: bool) -> None:
    reader = BodyReader(max_pending_bytes=150 * 1024)
    more = asyncio.Event()

    async def never() -> Any:
        if more.is_set():
            await asyncio.Event().wait()
        more.set()
        return {"type": "http.request", "body": b"x" * 50 * 1024, "more_body": True}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * (size - 50) * 1024, "more_body": False}

    waiting = asyncio.create_task(reader.read(never))
    await more.wait()
    await asyncio.sleep(0)
    if fits:
        assert len(await reader.read(receive)) == (size - 50) * 1024
    else:
        with pytest.raises(RequestError, match="max_pending_body_bytes"):
            await reader.read(receive)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert len(await reader.read(receive)) == (size - 50) * 1024
    assert reader._pending_bytes == 0


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 413)])
@pytest.mark.parametrize("declared", [True, False])
async def test_the_size_of_a_body(size: int, status: int, declared: bool) -> None:
    body = b'{"prompt": "' + b"x" * (size - 14) + b'"}'
    reader = BodyReader(max_bytes=1000)
    parts = iter([{"type": "http.request", "body": body[:500], "more_body": True}])

    async def receive() -> Any:
        return next(parts, {"type": "http.request", "body": body[500:], "more_body": False})

    reading = reader.read(receive, str(size) if declared else "")
    if status == 200:
        assert await reading == body
    else:
        with pytest.raises(Exception, match="1000 bytes"):
            await reading


def test_options() -> None:
    handler = StreamHandler(model=ScriptedModel("x"))
    for options in ({"body_timeout_s": 0}, {"max_pending_body_bytes": -1}, {"max_body_bytes": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            create_app(handler, **options)  # type: ignore[arg-type]
