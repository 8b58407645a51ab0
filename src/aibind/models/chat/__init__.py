"""Chat completions without I/O, for authors of models that speak this format.

:func:`chat_body` makes a request's body. The answer is read by :class:`ChatAnswer`, from the bytes of a response, or by
:class:`ChatReply`, from messages that are parsed already::

    reply = ChatReply(redact=Redactor([api_key]))
    answer = ChatAnswer(response.headers["content-type"], reply)
    async for part in response:
        for event in answer.take(part):
            yield event
        if reply.done:
            break
    else:
        for event in answer.take(None):
            yield event
    for event in reply.end():
        yield event
    if reply.failure is not None:
        raise reply.failure
"""

from __future__ import annotations

from ..._public import publish
from .answer import ChatAnswer
from .errors import Redactor
from .reply import ChatReply
from .request import Structured, chat_body, encode_body

__all__ = ["ChatAnswer", "ChatReply", "Redactor", "Structured", "chat_body", "encode_body"]

publish(__name__, __all__)
