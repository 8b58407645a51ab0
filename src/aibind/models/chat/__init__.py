"""Chat completions without I/O, for authors of models that speak this format.

:func:`chat_body` makes a request's body, and :class:`ChatReply` reads the messages of an answer; see
:mod:`aibind.models.endpoint` for its body.
"""

from __future__ import annotations

from ..._public import publish
from .prefill import Prefill
from .reply import ChatReply
from .request import Structured, chat_body

__all__ = ["ChatReply", "Prefill", "Structured", "chat_body"]

publish(__name__, __all__)
