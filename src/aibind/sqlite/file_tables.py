"""The files of the message store: rows of bytes, and of the references to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import cast

from .._offload import offload
from .._time import earliest_ms, now_ms
from ..conversations.files import FileReference, StoredFile, references_in
from ..history.entry import Entry
from .client import SqliteClient, SqliteRow
from .file_sql import FileRow, FileSql
from .message_rows import key_of

__all__ = ["PENDING_MS", "FileTables", "file_rows"]

MAX_PART_BYTES = 1_000_000
"""Bytes in one row: a value on D1 holds at most 2 MB, and its answer has up to four characters for a byte."""

MAX_PARTS = 4
"""Parts in one call of the database, so that a call stays small in the memory of a Worker."""

PENDING_MS = 60 * 60 * 1000
"""Milliseconds for which files are kept whose message has not been saved."""

_MARK = '"sha256:'  # in the JSON of every message that refers to a file


class FileTables:
    """The tables of files, read and written through a client."""

    def __init__(self, client: SqliteClient, sql: FileSql) -> None:
        self._client = client
        self._sql = sql

    async def put(self, session_id: str, message_id: str, files: Sequence[StoredFile]) -> None:
        """Store the files of a message that is about to be saved; see :meth:`FileStore.put_files`.

        The references come first: once they are there, nobody deletes the files.
        """
        by_hash = {file.reference.sha256: file for file in files}
        if not by_hash:
            return
        rows = [_row(key_of(message_id), file.reference) for file in by_hash.values()]
        _, found = await self._client.batch(self._sql.announce(session_id, rows, now_ms()))
        stored = {row["sha256"] for row in found.rows}
        for sha256, file in by_hash.items():
            if sha256 not in stored:
                await self._put(sha256, file.data)

    async def read(self, session_id: str, sha256s: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of files by their hash; see :meth:`FileStore.read_files`."""
        wanted = sorted(set(sha256s))
        rows: list[SqliteRow] = []
        last = ("", -1)
        while wanted:
            page = self._sql.page(session_id, wanted, last, MAX_PARTS)
            found = (await self._client.execute(page.sql, page.args)).rows
            rows += found
            if len(found) < MAX_PARTS:
                break
            last = cast("str", found[-1]["sha256"]), cast("int", found[-1]["part"])
        return await offload(lambda: _joined(rows), len(rows) > 1)

    async def find(self, session_id: str, sha256: str) -> StoredFile | None:
        """Return a file that a session refers to; see :meth:`FileStore.find_file`."""
        find = self._sql.find(session_id, sha256, earliest_ms())
        rows = (await self._client.execute(find.sql, find.args)).rows
        data = (await self.read(session_id, [sha256])).get(sha256) if rows else None
        if data is None:
            return None
        mime_type, name = cast("str", rows[0]["mime_type"]), cast("str | None", rows[0]["name"])
        return StoredFile(FileReference(sha256, mime_type, len(data), name), data)

    async def sweep(self) -> None:
        """Delete the files whose messages were never saved."""
        await self._client.batch(self._sql.sweep(now_ms() - PENDING_MS))

    async def _put(self, sha256: str, data: bytes) -> None:
        starts = range(0, max(len(data), 1), MAX_PART_BYTES)
        parts = [
            self._sql.put(sha256, part, len(data), data[start : start + MAX_PART_BYTES])
            for part, start in enumerate(starts)
        ]
        while parts:  # the first one last: it tells that the others are there
            await self._client.batch(parts[-MAX_PARTS:])
            del parts[-MAX_PARTS:]


def _joined(rows: list[SqliteRow]) -> dict[str, bytes]:
    """Return files from the rows of their parts. A file whose writer died lacks its beginning."""
    files = {cast("str", sha256): list(parts) for sha256, parts in groupby(rows, key=lambda row: row["sha256"])}
    return {
        sha256: b"".join(cast("bytes", part["data"]) for part in parts)
        for sha256, parts in files.items()
        if parts[0]["part"] == 0
    }


def file_rows(entries: Iterable[Entry]) -> list[FileRow]:
    """Return the references in the messages of a save."""
    rows: dict[tuple[str, str], FileRow] = {}
    for entry in entries:
        if _MARK in entry.head:
            key = key_of(entry.id)
            for reference in references_in(entry.message):
                rows.setdefault((key, reference.sha256), _row(key, reference))
    return list(rows.values())


def _row(key: str, reference: FileReference) -> FileRow:
    name = reference.name
    return FileRow(key, reference.sha256, _plain(reference.mime_type), None if name is None else _plain(name))


def _plain(text: str) -> str:
    """Return a text without what a header or a database cannot hold: control characters and lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(character for character in text if character.isprintable())
