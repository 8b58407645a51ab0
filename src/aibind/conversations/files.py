"""Files that messages refer to: kept once for each content, and found by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from .._json import is_list, is_object

__all__ = ["FileReference", "FileStore", "StoredFile", "is_sha256", "references_in"]

ID_PREFIX = "sha256:"

UNKNOWN_TYPE = "application/octet-stream"

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file as a message holds it: a part of its content, without the bytes.

    ``sha256`` is the hash of the bytes, as 64 lower-case hexadecimal digits, and ``size`` their number.
    """

    sha256: str
    mime_type: str
    size: int
    name: str | None = None

    def to_part(self) -> dict[str, Any]:
        """Return the part of a message's content."""
        name = {} if self.name is None else {"name": self.name}
        file = {"id": ID_PREFIX + self.sha256, **name, "mimeType": self.mime_type, "size": self.size}
        return {"type": "file", "file": file}

    @classmethod
    def from_part(cls, part: object) -> FileReference | None:
        """Return the reference that a part of a message's content is; None for any other part."""
        file = part.get("file") if is_object(part) and part.get("type") == "file" else None
        file_id = file.get("id") if is_object(file) else None
        if not is_object(file) or not isinstance(file_id, str) or not file_id.startswith(ID_PREFIX):
            return None
        sha256 = file_id.removeprefix(ID_PREFIX)
        mime_type, size, name = file.get("mimeType"), file.get("size"), file.get("name")
        if not is_sha256(sha256):
            return None
        return cls(
            sha256,
            mime_type if isinstance(mime_type, str) else UNKNOWN_TYPE,
            size if isinstance(size, int) and size >= 0 else 0,
            name if isinstance(name, str) else None,
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and its bytes."""

    reference: FileReference
    data: bytes

    @classmethod
    def of(cls, data: bytes, mime_type: str, name: str | None = None) -> Self:
        """Return the file of these bytes."""
        return cls(FileReference(hashlib.sha256(data).hexdigest(), mime_type, len(data), name), data)


@runtime_checkable
class FileStore(Protocol):
    """A conversation store that keeps the files its messages refer to.

    A file is kept once, however many messages refer to it, and deleted with the last of them. What a message refers to
    is read from the parts of its content, see :class:`FileReference`, when the message is saved.
    """

    async def put_files(self, session_id: str, message_id: str, files: Sequence[StoredFile]) -> None:
        """Store the files of a message that is about to be saved.

        They are kept for an hour without the message; after that, a cleanup may delete them.
        """
        ...

    async def read_files(self, session_id: str, sha256s: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of files by their SHA-256: those that are stored, and that the session refers to."""
        ...

    async def find_file(self, session_id: str, sha256: str) -> StoredFile | None:
        """Return a file that the session refers to; None when it does not, or when the session has expired."""
        ...


def is_sha256(text: str) -> bool:
    """Return whether a text is a hash as references hold it."""
    return _SHA256.match(text) is not None


def references_in(message: Mapping[str, Any]) -> list[FileReference]:
    """Return the references to files in a message's content."""
    content = message.get("content")
    found = map(FileReference.from_part, content) if is_list(content) else ()
    return [reference for reference in found if reference is not None]
