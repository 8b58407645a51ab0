"""Parts of messages: text, pictures and documents, in the form of chat completions and in Anthropic's."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ..._json import is_object
from ...errors import ModelError

__all__ = ["from_part", "to_part"]

_OURS = frozenset({"text", "image_url", "file"})


def to_part(part: Any) -> dict[str, Any]:
    """Return a part of chat completions as Anthropic's; one of another type is passed on as it is.

    Raises ModelError for what Anthropic does not read, such as sound.
    """
    kind = part.get("type") if is_object(part) else None
    if kind == "image_url":
        image = part.get("image_url")
        return _file(str(image["url"] if is_object(image) else image))
    if kind == "file" and is_object(file := part.get("file")):
        title = {"title": file["filename"]} if file.get("filename") else {}
        if file.get("file_id"):
            return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}, **title}
        block = _file(str(file.get("file_data", "")), "document")
        return block | (title if block["type"] == "document" else {})
    if kind is None or kind == "input_audio":
        raise ModelError(f"A part of the message is of type {kind!r}, which Anthropic's models do not read")
    return dict(part)


def from_part(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block of Anthropic's as a part of chat completions; one that these do not have as it is."""
    part = _from_part(block)
    return part if part is not None and to_part(part) == block else block


def _from_part(block: dict[str, Any]) -> dict[str, Any] | None:
    source = block.get("source")
    if not is_object(source):
        return None
    kind, media_type = source.get("type"), str(source.get("media_type", ""))
    url: str | None = None
    if kind == "url":
        url = str(source.get("url"))
    elif kind == "base64":
        url = f"data:{media_type};base64,{source.get('data')}"
    elif kind == "text":
        url = f"data:{media_type},{quote(str(source.get('data')))}"
    if block.get("type") == "image" and url is not None:
        return {"type": "image_url", "image_url": {"url": url}}
    if block.get("type") != "document":
        return None
    file: dict[str, Any] = {"filename": block["title"]} if "title" in block else {}
    if kind == "file":
        return {"type": "file", "file": {**file, "file_id": source.get("file_id")}}
    return {"type": "file", "file": {**file, "file_data": url}} if url is not None else None


def _file(url: str, kind: str = "image") -> dict[str, Any]:
    if not url.startswith("data:"):
        if not url:
            raise ModelError("A file of the message has neither data nor an id")
        return {"type": kind, "source": {"type": "url", "url": url}}
    head, _, data = url.removeprefix("data:").partition(",")
    media_type, *options = head.split(";")
    if media_type.startswith("image/"):
        kind = "image"
    try:
        if media_type.startswith("text/"):
            content = base64.b64decode(data, validate=True) if "base64" in options else unquote_to_bytes(data)
            text = {"type": "text", "media_type": "text/plain", "data": content.decode("utf-8", "replace")}
            return {"type": "document", "source": text}
        if "base64" not in options:
            data = base64.b64encode(unquote_to_bytes(data)).decode()
    except binascii.Error as error:
        raise ModelError("A file of the message is not base64") from error
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}
