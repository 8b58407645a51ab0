"""pydantic-ai's agents as models, its messages and its conversation store; needs the extra ``pydantic-ai``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .conversation_store import PydanticAIConversationStore
    from .messages import from_pydantic_ai, to_pydantic_ai
    from .model import PydanticAIModel

__all__ = ["PydanticAIConversationStore", "PydanticAIModel", "from_pydantic_ai", "to_pydantic_ai"]

_NAMES = {
    "conversation_store": "PydanticAIConversationStore",
    "messages": "from_pydantic_ai to_pydantic_ai",
    "model": "PydanticAIModel",
}

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, _NAMES, extra="pydantic-ai")


def __dir__() -> list[str]:
    return __all__
