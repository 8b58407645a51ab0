"""Wire formats: encoders of a stream's events, one for each kind of client."""

from __future__ import annotations

from .._public import publish
from .ag_ui import AgUiEncoder
from .encoder import Encoder, encoded, respond
from .lines import JsonLinesEncoder, PlainTextEncoder
from .sse import SseEncoder
from .ui_messages import UiMessageEncoder

__all__ = [
    "AgUiEncoder",
    "Encoder",
    "JsonLinesEncoder",
    "PlainTextEncoder",
    "SseEncoder",
    "UiMessageEncoder",
    "encoded",
    "respond",
]

publish(__name__, __all__)
