"""Files as parts of a message's content, in the format of chat completions."""

from __future__ import annotations

import re
from typing import Any

from ..conversations.files import FileReference, StoredFile
from .data_urls import data_url, encode_base64

__all__ = ["left_out_part", "part_of", "url_part"]

_TEXT_TYPE = re.compile(r"text/|application/(.*\+)?(json|xml|yaml|x-yaml|toml|javascript|sql)\Z")
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def part_of(file: StoredFile) -> dict[str, Any]:
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
        audio = {"data": encode_base64(file.data), "format": audio_format}
        return {"type": "input_audio", "input_audio": audio}
    return url_part(reference.mime_type, reference.name, data_url(reference.mime_type, file.data))


def url_part(mime_type: str, name: str | None, source: str) -> dict[str, Any]:
    """Return the part of chat completions that holds a file by its URL, which may be a data: URL."""
    if mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": source}}
    return {"type": "file", "file": {"filename": name or "file", "file_data": source}}


def left_out_part(reference: FileReference, why: str) -> dict[str, Any]:
    """Return the text that stands for a file which is not shown to a model."""
    return {"type": "text", "text": f"[The attached file {_label(reference)} is left out here: {why}]"}


def _label(reference: FileReference) -> str:
    return f'"{reference.name}"' if reference.name else f"of type {reference.mime_type}"
