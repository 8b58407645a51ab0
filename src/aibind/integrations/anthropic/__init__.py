"""Streams of Anthropic's Python client as models; needs the extra ``anthropic``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .messages import from_anthropic, to_anthropic
    from .model import AnthropicClientModel, anthropic_events

__all__ = ["AnthropicClientModel", "anthropic_events", "from_anthropic", "to_anthropic"]

publish(__name__, __all__)
__getattr__ = load_on_demand(
    __name__,
    {"messages": "from_anthropic to_anthropic", "model": "AnthropicClientModel anthropic_events"},
    extra="anthropic",
)


def __dir__() -> list[str]:
    return __all__
