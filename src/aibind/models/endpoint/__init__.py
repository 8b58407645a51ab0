"""The parts that models at HTTP endpoints share, without I/O: reading an answer, and errors without secrets.

Beside a package for each format, :mod:`aibind.models.chat` and :mod:`aibind.models.responses`, whose replies read the
messages of a body::

    reply = ChatReply(redact=Redactor([api_key]))
    answer = EndpointAnswer(response.headers["content-type"], reply)
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
from .answer import EndpointAnswer
from .body import encode_body
from .errors import Redactor
from .reply import EndpointReply

__all__ = ["EndpointAnswer", "EndpointReply", "Redactor", "encode_body"]

publish(__name__, __all__)
