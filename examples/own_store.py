"""A stream store in files, held to the contract that every stream store keeps.

python examples/own_store.py
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import astuple, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from aibind.errors import StreamConflictError, StreamExistsError, StreamNotActiveError, StreamNotFoundError
from aibind.streams import BaseStreamStore, Pace, StreamChunk, StreamEnd, StreamPage, StreamStatus
from aibind.testing import CheckSkipped, stream_store_checks


class FileStreamStore(BaseStreamStore):
    """Streams for one process, each in a JSON file that every write replaces."""

    def __init__(self, folder: Path, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> None:
        super().__init__(flush_pace=Pace(100), lease_ms=lease_ms)
        self._folder = folder
        self._ttl_ms = ttl_ms

    async def create(
        self,
        stream_id: str,
        *,
        session_id: str | None = None,
        owner: str | None = None,
        question_id: str | None = None,
    ) -> None:
        if self._path(stream_id).exists():
            raise StreamExistsError(stream_id)
        now = now_ms()
        expires_at = now + self.lease_ms
        status = StreamStatus("active", None, 0, expires_at, session_id, owner, now, question_id=question_id)
        self._save(stream_id, status, [])

    async def append_many(
        self, stream_id: str, chunks: Sequence[str], *, first_seq: int | None = None, renew: bool = False
    ) -> list[int]:
        status, stored = self._load(stream_id)
        if not status.is_active:
            raise StreamNotActiveError(stream_id, status.state)
        if renew:
            status = replace(status, expires_at=now_ms() + self.lease_ms)
        self._save(stream_id, status, stored, chunks, first_seq)
        return list(range(len(stored) + 1, len(stored) + 1 + len(chunks)))

    async def finish(
        self, stream_id: str, end: StreamEnd, *, chunks: Sequence[str] = (), first_seq: int | None = None
    ) -> StreamEnd:
        status, stored = self._load(stream_id)
        if status.end is not None:
            return status.end  # the first end wins
        status = replace(status, state=end.state, error=end.error, expires_at=now_ms() + self._ttl_ms)
        self._save(stream_id, status, stored, chunks, first_seq)
        return end

    async def read_page(self, stream_id: str, after_seq: int = 0) -> StreamPage:
        if after_seq < 0:
            raise ValueError(f"after_seq is {after_seq}: use 0 or more")
        status, stored = self._load(stream_id)
        page = stored[after_seq : after_seq + 1000]
        chunks = tuple(StreamChunk(seq, data) for seq, data in enumerate(page, after_seq + 1))
        return StreamPage(status, chunks, has_more=after_seq + len(page) < len(stored))

    async def live_streams(self, session_id: str) -> list[str]:
        found = [_read(path)[:2] for path in self._folder.glob("*.json")]
        live = [
            (status.created_at or 0, stream_id)
            for stream_id, status in found
            if status.session_id == session_id and status.is_active and status.expires_at > now_ms()
        ]
        return [stream_id for _, stream_id in sorted(live)]

    async def cleanup(self) -> int:
        before = self._find_expired()
        if any(status.is_active for status in before.values()):
            await asyncio.sleep(self.grace_s)  # a producer may be late to renew, but not silent
        removed = [path for path, status in self._find_expired().items() if status == before.get(path)]
        for path in removed:
            path.unlink()
        return len(removed)

    def _path(self, stream_id: str) -> Path:
        return self._folder / f"{sha256(stream_id.encode()).hexdigest()}.json"  # an id may be any text

    def _load(self, stream_id: str) -> tuple[StreamStatus, list[str]]:
        try:
            _, status, chunks = _read(self._path(stream_id))
        except FileNotFoundError:
            raise StreamNotFoundError(stream_id) from None
        if not status.is_active and status.expires_at <= now_ms():
            raise StreamNotFoundError(stream_id)
        return status, chunks

    def _save(
        self, stream_id: str, status: StreamStatus, stored: list[str], new: Sequence[str] = (), seq: int | None = None
    ) -> None:
        if new and seq is not None and seq != len(stored) + 1:
            raise StreamConflictError(stream_id, seq)
        chunks = [*stored, *new]
        draft = self._folder / "draft"
        draft.write_text(json.dumps([stream_id, *astuple(replace(status, total_chunks=len(chunks))), chunks]))
        draft.replace(self._path(stream_id))  # all or nothing
        self.wake_readers(stream_id)

    def _find_expired(self) -> dict[Path, StreamStatus]:
        found = {path: _read(path)[1] for path in self._folder.glob("*.json")}
        return {path: status for path, status in found.items() if status.expires_at <= now_ms()}


def _read(path: Path) -> tuple[str, StreamStatus, list[str]]:
    stream_id, *fields, chunks = json.loads(path.read_text())
    return stream_id, StreamStatus(*fields), chunks


def now_ms() -> int:
    return int(time.time() * 1000)


class Harness:
    """Stores for the checks: each a new object over the same files, as another process would have."""

    records_sessions = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def open(self, *, ttl_ms: int = 300_000, lease_ms: int = 30_000) -> FileStreamStore:
        return FileStreamStore(self._folder, ttl_ms=ttl_ms, lease_ms=lease_ms)


async def main() -> None:
    for check in stream_store_checks():
        name = check.name.replace("_", " ")
        with TemporaryDirectory() as folder:
            try:
                await check.run(Harness(Path(folder)))
            except CheckSkipped as reason:
                print(f"skipped: {name}: {reason}")
            else:
                print("passed:", name)


if __name__ == "__main__":
    asyncio.run(main())
