"""Streams of OpenAI's Python client as models; needs the extra ``openai``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .model import OpenAIClientModel, openai_events

__all__ = ["OpenAIClientModel", "openai_events"]

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, {"model": "OpenAIClientModel openai_events"}, extra="openai")


def __dir__() -> list[str]:
    return __all__
