"""Attachments of stored conversations: kept apart from messages where the store can, and put into what models see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from .._json import is_list
from .._offload import offload
from ..conversations.files import ID_PREFIX, FileReference, FileStore, StoredFile, is_sha256, references_in
from ..errors import HistoryError, RequestError
from ..history import ChatHistory
from ..models.model import Message
from ..streams.response import Body, HttpResponse
from .attachment_body import Attachment, is_mime_type
from .data_urls import LARGE_BYTES, data_url, decode_url
from .file_parts import left_out_part, part_of
from .json_body import parse_in_thread

__all__ = ["MAX_ATTACHMENT_BYTES", "Attachments", "PendingFiles", "file_response"]

MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""The default limit of the files in one request, in bytes: a few times as much is in memory while it is made."""

SHOWN_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Types that a browser may show in place: they cannot hold scripts, as SVG can."""


@dataclass(slots=True)
class _Budget:
    """The bytes of files that one request still has room for."""

    left: int
    taken: set[str] = field(default_factory=set[str])
    refused: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])

    def take(self, place: int, reference: FileReference) -> None:
        """Reserve the room for a file in the message at a place, or note that there is none."""
        if reference.size <= self.left:
            self.left -= reference.size
            self.taken.add(reference.sha256)
        else:
            self.refused.add((place, reference.sha256))


class PendingFiles:
    """The files of a message, to be stored before the message is."""

    def __init__(
        self, store: FileStore | None, session_id: str, message_id: str, files: Sequence[StoredFile] = ()
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._message_id = message_id
        self._files = files

    async def put(self) -> None:
        """Store the files, unless they are stored already; call this before each save."""
        if self._files and self._store is not None:
            await self._store.put_files(self._session_id, self._message_id, self._files)
            self._files = ()


class Attachments:
    """The attachments of stored conversations: kept by reference when their store is a FileStore, else in messages.

    One request to a model, and one request of a client, holds at most ``max_bytes`` of files.
    """

    def __init__(self, conversations: object, max_bytes: int) -> None:
        self._files = conversations if isinstance(conversations, FileStore) else None
        self._max_bytes = max_bytes

    @property
    def by_reference(self) -> bool:
        """Whether messages hold references instead of bytes."""
        return self._files is not None

    def check(self, attachments: Sequence[Attachment]) -> None:
        """Raise RequestError, with status 413, for more bytes than a model may be sent."""
        size = sum(len(file.data) for file in _files_of(attachments))
        if size > self._max_bytes:
            raise RequestError(
                f"The attachments have {size:,} bytes, and this server takes at most {self._max_bytes:,}", 413
            )

    def pending(self, session_id: str, message_id: str, attachments: Sequence[Attachment]) -> PendingFiles:
        """Return the files of a message that is about to be saved."""
        return PendingFiles(self._files, session_id, message_id, _files_of(attachments))

    async def resolve(
        self, session_id: str, messages: Sequence[Message], attachments: Sequence[Attachment] = ()
    ) -> list[Message]:
        """Return messages as a model is sent them: with the files in place of the references to them.

        The newest files come first when there is not room for all. A text stands for those that do not fit, and for
        those that are gone. Files of ``attachments``, which may not be stored yet, are not read.
        """
        found = {place: references for place, message in enumerate(messages) if (references := references_in(message))}
        if not found or self._files is None:
            return list(messages)
        budget = _Budget(self._max_bytes)
        for place in sorted(found, reverse=True):
            for reference in found[place]:
                budget.take(place, reference)
        contents = {file.reference.sha256: file.data for file in _files_of(attachments)}
        missing = sorted(budget.taken - contents.keys())
        if missing:
            contents |= await self._files.read_files(session_id, missing)

        def resolve_part(place: int, part: Any) -> Any:
            reference = FileReference.from_part(part)
            if reference is None:
                return part
            if (place, reference.sha256) in budget.refused:
                return left_out_part(reference, f"{reference.size:,} bytes are too many to be shown again")
            data = contents.get(reference.sha256)
            if data is None:
                return left_out_part(reference, "it is no longer stored")
            return part_of(StoredFile(reference, data))

        def resolve_all() -> list[Message]:
            return [
                {**message, "content": [resolve_part(place, part) for part in message["content"]]}
                if place in found
                else message
                for place, message in enumerate(messages)
            ]

        return await offload(resolve_all, sum(map(len, contents.values())) > LARGE_BYTES)

    async def find(self, session_id: str, file_id: str) -> StoredFile | None:
        """Return a file that a session refers to, by its id or its bare hash; None when there is none."""
        sha256 = file_id.removeprefix(ID_PREFIX)
        if self._files is None or not is_sha256(sha256):
            return None
        return await self._files.find_file(session_id, sha256)

    # --- exported conversations ---

    async def export(self, session_id: str, chat: ChatHistory) -> ChatHistory:
        """Return a conversation whose references have the files with them, as ``file_data``, for another place."""
        if self._files is None:
            return chat
        data = await offload(lambda: _with_references(chat))
        if data is None:
            return chat
        parts = list(_reference_parts(data))
        contents = await self._files.read_files(session_id, [reference.sha256 for _, reference in parts])

        def bring() -> ChatHistory:
            for file, reference in parts:
                if reference.sha256 in contents:
                    file["file_data"] = data_url(reference.mime_type, contents[reference.sha256])
            return ChatHistory.from_tree(chat.tree.deserialize(data))

        return await offload(bring)

    async def import_(self, session_id: str, chat: ChatHistory) -> ChatHistory:
        """Return an exported conversation as it is to be saved in a session, after storing the files that it brings.

        A text stands for a reference whose file does not come with it, so that nobody gets at files by their hashes.
        Without a FileStore the files stay in the messages. Raises RequestError for a file that is not what its
        reference says.
        """

        def take_in() -> tuple[ChatHistory, dict[str, list[StoredFile]]]:
            data = _with_references(chat)
            brought: dict[str, list[StoredFile]] = {}
            if data is None:
                return chat, brought
            for message_id, node in data["nodes"].items():
                content = node["message"].get("content")
                if is_list(content):
                    files = brought.setdefault(message_id, [])
                    node["message"]["content"] = [self._take_in(part, files) for part in content]
            return ChatHistory.from_tree(chat.tree.deserialize(data)), brought

        try:
            taken, brought = await offload(take_in)
        except HistoryError as error:
            raise RequestError(f"The conversation cannot be imported: {error}") from error
        for message_id, files in brought.items():
            if files and self._files is not None:
                await self._files.put_files(session_id, message_id, files)
        return taken

    def _take_in(self, part: Any, brought: list[StoredFile]) -> Any:
        reference = FileReference.from_part(part)
        if reference is None:
            return part
        url = part["file"].pop("file_data", None)
        if url is None:
            return left_out_part(reference, "it did not come with this conversation")
        data = decode_url(url) if isinstance(url, str) and url.startswith("data:") else None
        file = StoredFile.of(data or b"", reference.mime_type, reference.name)
        if data is None or file.reference != reference:
            raise RequestError(f'The file "{reference.name or reference.sha256}" is not what its reference says')
        if self._files is None:
            return part_of(file)
        brought.append(file)
        return part


def file_response(file: StoredFile) -> HttpResponse[Body]:
    """Return the response that is a file: shown in place when it is a picture, else to be saved.

    Its address holds its hash, so that a browser may keep it for as long as it likes.
    """
    reference = file.reference
    is_shown = reference.mime_type in SHOWN_TYPES
    name = f"; filename*=UTF-8''{quote(reference.name, safe='')}" if reference.name else ""
    headers = {
        "Content-Type": reference.mime_type if is_mime_type(reference.mime_type) else "application/octet-stream",
        "Content-Disposition": ("inline" if is_shown else "attachment") + name,
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": f'"{reference.sha256}"',
    }
    return HttpResponse(200, headers, file.data)


def _files_of(attachments: Iterable[Attachment]) -> list[StoredFile]:
    return [attachment.file for attachment in attachments if attachment.file is not None]


def _with_references(chat: ChatHistory) -> dict[str, Any] | None:
    """Return a conversation's JSON as a dict; None when nothing in it refers to a file."""
    text = chat.to_json()
    if ID_PREFIX not in text:
        return None
    data: dict[str, Any] = parse_in_thread(text)
    return data if any(True for _ in _reference_parts(data)) else None


def _reference_parts(data: Mapping[str, Any]) -> Iterable[tuple[dict[str, Any], FileReference]]:
    """Yield the references in a conversation's JSON, each with the object that may hold the bytes."""
    for node in data["nodes"].values():
        content = node["message"].get("content")
        for part in content if is_list(content) else ():
            reference = FileReference.from_part(part)
            if reference is not None:
                yield part["file"], reference
