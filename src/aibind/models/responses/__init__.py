"""OpenAI's Responses format without I/O, for authors of models that speak it.

:func:`responses_body` makes a request's body, and :class:`ResponsesReply` reads the messages of an answer; see
:mod:`aibind.models.endpoint` for its body.
"""

from __future__ import annotations

from ..._public import publish
from .reply import ResponsesReply
from .request import responses_body

__all__ = ["ResponsesReply", "responses_body"]

publish(__name__, __all__)
