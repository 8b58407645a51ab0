"""Agents of pydantic-ai as models; needs the extra ``pydantic-ai``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .model import PydanticAIModel

__all__ = ["PydanticAIModel"]

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, {"model": "PydanticAIModel"}, extra="pydantic-ai")


def __dir__() -> list[str]:
    return __all__
