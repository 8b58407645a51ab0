"""The attachments of a request, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .._json import is_list, is_object
from ..conversations.files import StoredFile
from ..errors import RequestError
from .data_urls import LARGE_BYTES, decode_base64, decode_url
from .file_parts import part_of, url_part

__all__ = ["Attachment", "are_large", "is_mime_type", "parse_attachments"]

MAX_NAME_CHARS = 255

MAX_SHOWN_CHARS = 100
"""Characters of a refused URL that the error repeats."""

_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\Z", re.ASCII)


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
        if not is_mime_type(mime_type):
            raise RequestError(f"Attachment {number} needs a mimeType")
        name = _plain_name(name) if isinstance(name, str) else None
        if isinstance(url, str) and url.startswith("https://"):
            return cls(mime_type, name, None, url)
        if isinstance(url, str) and url.startswith("data:"):
            content = decode_url(url)
        elif isinstance(url, str) and url:
            raise RequestError(f'Attachment {number} has the url "{url[:MAX_SHOWN_CHARS]}": use https or data')
        elif isinstance(data, str) and data:
            content = decode_base64(data)
        else:
            raise RequestError(f"Attachment {number} needs data (base64) or a url (https or data)")
        if content is None:
            raise RequestError(f"Attachment {number} is not valid base64")
        return cls(mime_type, name, StoredFile.of(content, mime_type, name), None)

    def to_part(self, *, by_reference: bool) -> dict[str, Any]:
        """Return the part of the message's content: of chat completions, or a reference to the file."""
        if self.file is None:
            return url_part(self.mime_type, self.name, self.url or "")
        return self.file.reference.to_part() if by_reference else part_of(self.file)


def parse_attachments(value: object) -> tuple[Attachment, ...]:
    """Return the checked attachments of a request. Raises RequestError."""
    if value is None:
        return ()
    if not is_list(value):
        raise RequestError("attachments must be a list")
    return tuple(Attachment.parse(number, item) for number, item in enumerate(value, 1))


def is_mime_type(text: str) -> bool:
    """Return whether a text is a type and a subtype, without parameters."""
    return _TYPE.match(text) is not None


def are_large(value: object) -> bool:
    """Return whether attachments of a request, not checked yet, take long to decode."""
    items = value if is_list(value) else []
    texts = (item.get(name) for item in items if is_object(item) for name in ("data", "url"))
    return sum(len(text) for text in texts if isinstance(text, str)) > LARGE_BYTES


def _plain_name(name: str) -> str | None:
    """Return the last part of a file's path, without what a header cannot hold; None when nothing is left."""
    name = name.encode("utf-8", "replace").decode().replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable()).strip()[:MAX_NAME_CHARS] or None
