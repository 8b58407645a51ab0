"""Two hundred streams at once on one file, with followers here and in two more processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest

from aibind.sqlite import SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import DurableStream
from tests.support.sources import Source, read_all, text_of, tokens

STREAMS = 200
TOKENS = 60

pytestmark = pytest.mark.processes


def text_for(number: int) -> list[str]:
    return [f"{number}:", *tokens(TOKENS)]


async def follow_elsewhere(path: Path, ids: list[str]) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.follow_process", str(path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps(ids).encode())
    assert process.returncode == 0, err.decode()
    assert b"locked" not in err
    digests: list[str] = json.loads(out)
    return digests


async def test_two_hundred_streams_and_three_processes(tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    async with wrap_sqlite3(path) as client:
        await migrate(client)
        store = SqliteStreamStore(client)
        sources = [Source(text_for(number), rate=20) for number in range(STREAMS)]
        streams = await asyncio.gather(*(DurableStream.create(store, source.stream()) for source in sources))
        ids = [stream.id for stream in streams]
        elsewhere = [asyncio.ensure_future(follow_elsewhere(path, ids)) for _ in range(2)]
        live = await asyncio.gather(*(read_all(stream.response().body) for stream in streams))
        expected = ["".join(text_for(number)) for number in range(STREAMS)]
        assert [text_of(messages) for messages in live] == expected
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in expected]
        for followed in await asyncio.gather(*elsewhere):
            assert followed == digests
        for stream in streams:
            status = await store.get_status(stream.id)
            assert status is not None
            assert status.state == "done"
