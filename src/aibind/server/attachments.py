"""Attachments: checked in requests, kept apart from messages where the store can, and put into what a model sees."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .._json import is_list, is_object
from .._offload import offload
from ..conversations.files import ID_PREFIX, FileReference, FileStore, StoredFile, is_sha256, references_in
from ..errors import HistoryError, RequestError
from ..history import ChatHistory
from ..models.model import Message
from ..streams.response import Body, HttpResponse
from .json_body import parse_in_thread

__all__ = [
    "MAX_ATTACHMENT_BYTES",
    "Attachment",
    "Attachments",
    "PendingFiles",
    "are_large",
    "file_response",
    "parse_attachments",
]

MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
"""The default limit of the files in one request, in bytes: a few times as much is in memory while it is made."""

MAX_NAME_CHARS = 255

_LARGE_BYTES = 256 * 1024
"""Bytes of files from which on they are encoded in a thread."""

_PIECE_CHARS = 256 * 1024
"""Characters of base64 that are decoded at once: whole groups of four."""

MAX_SHOWN_CHARS = 100
"""Characters of a refused URL that the error repeats."""

SHOWN_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Types that a browser may show in place: they cannot hold scripts, as SVG can."""

_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\Z", re.ASCII)
_TEXT_TYPE = re.compile(r"text/|application/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|sql)\Z")
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment of a request: a ``file``, or the ``url`` of one, which a model's provider is to fetch."""

    mime_type: str
    name: str | None
    file: StoredFile | None
    url: str | None

    @classmethod
    def parse(cls, number: int, item: object) -> Attachment:
        """Return a checked attachment, which is ``{"mimeType", "data" (base64) or "url", "name"}``."""
        fields = item if is_object(item) else {}
        mime_type, data, url, name = (fields.get(key) for key in ("mimeType", "data", "url", "name"))
        mime_type = mime_type.partition(";")[0].strip().lower() if isinstance(mime_type, str) else ""
        if not _TYPE.match(mime_type):
            raise RequestError(f"Attachment {number} needs a mimeType")
        name = _plain_name(name) if isinstance(name, str) else None
        if isinstance(url, str) and url.startswith("https://"):
            return cls(mime_type, name, None, url)
        if isinstance(url, str) and url.startswith("data:"):
            content = _decode_url(url)
        elif isinstance(url, str) and url:
            raise RequestError(f'Attachment {number} has the url "{url[:MAX_SHOWN_CHARS]}": use https or data')
        elif isinstance(data, str) and data:
            content = _decode(data)
        else:
            raise RequestError(f"Attachment {number} needs data (base64) or a url (https or data)")
        if content is None:
            raise RequestError(f"Attachment {number} is not valid base64")
        return cls(mime_type, name, StoredFile.of(content, mime_type, name), None)

    def to_part(self, *, by_reference: bool) -> dict[str, Any]:
        """Return the part of the message's content: of chat completions, or a reference to the file."""
        if self.file is None:
            return _part(self.mime_type, self.name, self.url or "")
        return self.file.reference.to_part() if by_reference else _part_of(self.file)


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
                return _note(reference, f"{reference.size:,} bytes are too many to be shown again")
            data = contents.get(reference.sha256)
            return _note(reference, "it is no longer stored") if data is None else _part_of(StoredFile(reference, data))

        def resolve_all() -> list[Message]:
            return [
                {**message, "content": [resolve_part(place, part) for part in message["content"]]}
                if place in found
                else message
                for place, message in enumerate(messages)
            ]

        return await offload(resolve_all, sum(map(len, contents.values())) > _LARGE_BYTES)

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
                    file["file_data"] = _data_url(reference.mime_type, contents[reference.sha256])
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
            return _note(reference, "it did not come with this conversation")
        data = _decode_url(url) if isinstance(url, str) and url.startswith("data:") else None
        file = StoredFile.of(data or b"", reference.mime_type, reference.name)
        if data is None or file.reference != reference:
            raise RequestError(f'The file "{reference.name or reference.sha256}" is not what its reference says')
        if self._files is None:
            return _part_of(file)
        brought.append(file)
        return part


def parse_attachments(value: object) -> tuple[Attachment, ...]:
    """Return the checked attachments of a request. Raises RequestError."""
    if value is None:
        return ()
    if not is_list(value):
        raise RequestError("attachments must be a list")
    return tuple(Attachment.parse(number, item) for number, item in enumerate(value, 1))


def are_large(value: object) -> bool:
    """Return whether attachments of a request, not checked yet, take long to decode."""
    items = value if is_list(value) else []
    texts = (item.get(name) for item in items if is_object(item) for name in ("data", "url"))
    return sum(len(text) for text in texts if isinstance(text, str)) > _LARGE_BYTES


def file_response(file: StoredFile) -> HttpResponse[Body]:
    """Return the response that is a file: shown in place when it is a picture, else to be saved.

    Its address holds its hash, so that a browser may keep it for as long as it likes.
    """
    reference = file.reference
    is_shown = reference.mime_type in SHOWN_TYPES
    name = f"; filename*=UTF-8''{quote(reference.name, safe='')}" if reference.name else ""
    headers = {
        "Content-Type": reference.mime_type if _TYPE.match(reference.mime_type) else "application/octet-stream",
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


# --- parts of chat completions ---


def _part_of(file: StoredFile) -> dict[str, Any]:
    """Return the part of chat completions that holds a file: text as text, which every model reads."""
    reference = file.reference
    if _TEXT_TYPE.match(reference.mime_type):
        try:
            text = file.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        else:
            return {"type": "text", "text": f"The attached file {_label(reference)}:\n\n{text}"}
    if audio_format := _AUDIO_FORMATS.get(reference.mime_type):
        audio = {"data": _encode(file.data), "format": audio_format}
        return {"type": "input_audio", "input_audio": audio}
    return _part(reference.mime_type, reference.name, _data_url(reference.mime_type, file.data))


def _part(mime_type: str, name: str | None, source: str) -> dict[str, Any]:
    if mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": source}}
    return {"type": "file", "file": {"filename": name or "file", "file_data": source}}


def _note(reference: FileReference, why: str) -> dict[str, Any]:
    return {"type": "text", "text": f"[The attached file {_label(reference)} is left out here: {why}]"}


def _label(reference: FileReference) -> str:
    return f'"{reference.name}"' if reference.name else f"of type {reference.mime_type}"


# --- bytes in JSON ---


def _data_url(mime_type: str, data: bytes) -> str:
    return f"data:{mime_type};base64,{_encode(data)}"


def _encode(data: bytes) -> str:
    """Return bytes in base64, in short calls: the loop may be waiting."""
    size = _PIECE_CHARS // 4 * 3
    return "".join(base64.b64encode(data[start : start + size]).decode("ascii") for start in range(0, len(data), size))


def _decode_url(url: str) -> bytes | None:
    """Return the bytes of a data: URL; None when it is malformed."""
    header, comma, data = url.partition(",")
    if not comma:
        return None
    return _decode(data) if header.endswith(";base64") else b"".join(map(unquote_to_bytes, _escaped_pieces(data)))


def _escaped_pieces(text: str) -> Iterator[str]:
    """Cut a percent-encoded text between its characters."""
    start = 0
    while start < len(text):
        end = start + _PIECE_CHARS
        if (cut := text.rfind("%", end - 2, end)) >= 0:
            end = cut
        yield text[start:end]
        start = end


def _decode(text: str) -> bytes | None:
    """Return the bytes of a text in base64; None when it is malformed."""
    pieces: list[bytes] = []
    try:
        for start in range(0, len(text), _PIECE_CHARS):
            piece = text[start : start + _PIECE_CHARS]
            pieces.append(base64.b64decode(piece, validate=True))
            if "=" in piece and start + _PIECE_CHARS < len(text):
                return None  # what pads the end is in the middle
    except (binascii.Error, ValueError):
        return None
    return b"".join(pieces)


def _plain_name(name: str) -> str | None:
    """Return the last part of a file's path, without what a header cannot hold; None when nothing is left."""
    name = name.encode("utf-8", "replace").decode().replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable()).strip()[:MAX_NAME_CHARS] or None
