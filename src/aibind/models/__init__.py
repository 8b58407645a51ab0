"""Language models: the protocol, an offline model, and endpoints that speak chat completions.

``OpenAIModel`` is loaded when it is first used, since it needs the extra ``http``; everything else needs the standard
library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import load_on_demand
from .._public import publish
from .echo import EchoModel
from .model import (
    Approval,
    ApprovalRequest,
    ChooseModel,
    CustomEvent,
    Finish,
    Message,
    MessageData,
    Model,
    ModelEvent,
    ModelFunction,
    ModelRequest,
    ReasoningDelta,
    ReplyReference,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .resuming import ResumableModel, can_resume, skip_repeated

if TYPE_CHECKING:
    from .openai import OpenAIModel

__all__ = [
    "Approval",
    "ApprovalRequest",
    "ChooseModel",
    "CustomEvent",
    "EchoModel",
    "Finish",
    "Message",
    "MessageData",
    "Model",
    "ModelEvent",
    "ModelFunction",
    "ModelRequest",
    "OpenAIModel",
    "ReasoningDelta",
    "ReplyReference",
    "ResumableModel",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "Usage",
    "can_resume",
    "skip_repeated",
]

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, {"openai": "OpenAIModel"})


def __dir__() -> list[str]:
    return __all__
