"""Chat completions without I/O: the request's body, and model events from the answer's messages."""

from __future__ import annotations

from .answer import ChatAnswer
from .errors import Redactor
from .reply import ChatReply
from .request import chat_body, encode_body

__all__ = ["ChatAnswer", "ChatReply", "Redactor", "chat_body", "encode_body"]
