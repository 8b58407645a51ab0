"""Bytes in JSON: as base64, and as data: URLs.

Large ones take many short calls, so that the event loop, which may be waiting for the interpreter, gets its turns.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

__all__ = ["LARGE_BYTES", "data_url", "decode_base64", "decode_url", "encode_base64"]

LARGE_BYTES = 256 * 1024
"""Bytes from which on they are encoded and decoded in a thread."""

_PIECE_CHARS = 256 * 1024
"""Characters of base64 that are decoded at once: whole groups of four."""


def data_url(mime_type: str, data: bytes) -> str:
    """Return the data: URL of bytes."""
    return f"data:{mime_type};base64,{encode_base64(data)}"


def encode_base64(data: bytes) -> str:
    """Return bytes in base64, in short calls: the loop may be waiting."""
    size = _PIECE_CHARS // 4 * 3
    return "".join(base64.b64encode(data[start : start + size]).decode("ascii") for start in range(0, len(data), size))


def decode_url(url: str) -> bytes | None:
    """Return the bytes of a data: URL; None when it is malformed."""
    header, comma, data = url.partition(",")
    if not comma:
        return None
    return decode_base64(data) if header.endswith(";base64") else b"".join(map(unquote_to_bytes, _escaped_pieces(data)))


def _escaped_pieces(text: str) -> Iterator[str]:
    """Cut a percent-encoded text between its characters."""
    start = 0
    while start < len(text):
        end = start + _PIECE_CHARS
        if (cut := text.rfind("%", end - 2, end)) >= 0:
            end = cut
        yield text[start:end]
        start = end


def decode_base64(text: str) -> bytes | None:
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
