"""LangChain's runnables and LangGraph's graphs as models, and conversations as its messages.

It needs the extra ``langchain``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand

if TYPE_CHECKING:
    from .history import StoredMessageHistory
    from .messages import from_langchain, to_langchain
    from .model import LangChainModel

__all__ = ["LangChainModel", "StoredMessageHistory", "from_langchain", "to_langchain"]

__getattr__ = load_on_demand(
    __name__,
    {"history": "StoredMessageHistory", "messages": "from_langchain to_langchain", "model": "LangChainModel"},
    extra="langchain",
)


def __dir__() -> list[str]:
    return __all__
