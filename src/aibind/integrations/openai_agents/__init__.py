"""Agents of OpenAI's Agents SDK as models, and its sessions; needs the extra ``openai-agents``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .items import from_items, to_items
    from .model import OpenAIAgentsModel
    from .session import StoredSession

__all__ = ["OpenAIAgentsModel", "StoredSession", "from_items", "to_items"]

publish(__name__, __all__)
__getattr__ = load_on_demand(
    __name__,
    {"items": "from_items to_items", "model": "OpenAIAgentsModel", "session": "StoredSession"},
    extra="openai-agents",
)


def __dir__() -> list[str]:
    return __all__
