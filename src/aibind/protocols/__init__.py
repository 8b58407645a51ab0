"""Wire formats: encoders of a stream's events, one for each kind of client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand
from .._public import publish
from .ag_ui import AgUiEncoder
from .encoder import Encoder, encoded, respond

if TYPE_CHECKING:
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

_HOMES = {
    "lines": "JsonLinesEncoder PlainTextEncoder",
    "sse": "SseEncoder",
    "ui_messages": "UiMessageEncoder",
}

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
