"""Prefilled messages: the beginning of an answer, sent as the last message, for the model to go on with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal, TypeAlias, get_args

from ...errors import ModelError
from ..model import (
    ApprovalRequest,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from ..resuming import not_resumable

__all__ = ["Prefill", "Prefilled", "check_prefill"]

Prefill: TypeAlias = Literal["plain", "prefix", "partial", "continue_final_message"]
"""The way an endpoint is told to go on with the last message: nothing more, a key of it, or two keys of the request."""

_MARKS: Mapping[str, Mapping[str, Any]] = {"prefix": {"prefix": True}, "partial": {"partial": True}}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "continue_final_message": {"continue_final_message": True, "add_generation_prompt": False}
}
_REFUSED = frozenset({400, 422})
"""The statuses of endpoints, and of models, that do not take a prefilled message."""


def check_prefill(prefill: str | None, api: str, *, background: bool) -> None:
    """Raise ValueError for a way that does not exist, or that does not go with the rest."""
    if prefill is None:
        return
    if prefill not in get_args(Prefill):
        raise ValueError(f"prefill is {prefill!r}: give {', '.join(map(repr, get_args(Prefill)))} or None")
    if api != "chat_completions" or background:
        raise ValueError("prefill is for chat completions: leave out api='responses', or give background=True instead")


class Prefilled:
    """An answer whose beginning is known, as a request to go on with it, and as what comes after it.

    Space at the end of the beginning is not sent, since some models refuse it, and is dropped where the model begins
    with it. Some endpoints repeat the beginning: that is dropped as well. Raises ModelError with the code
    ``not_resumable`` for what cannot be sent as a text.
    """

    def __init__(self, request: ModelRequest, so_far: Sequence[ModelEvent], prefill: Prefill) -> None:
        if request.json_schema is not None:
            raise not_resumable("the rest of structured output would not fit its beginning")
        if any(isinstance(event, _CALLS) for event in so_far):
            raise not_resumable("a prefilled message cannot hold the tools that the answer has called")
        text = "".join(event.text for event in so_far if isinstance(event, TextDelta))
        self._sent = text.rstrip()
        if not self._sent and any(isinstance(event, ReasoningDelta) for event in so_far):
            raise not_resumable("a prefilled message cannot hold reasoning, and no text has come yet")
        self._space = text[len(self._sent) :]
        self._prefill = prefill
        self._held = ""
        self._is_begun = not self._sent
        self._is_read = False

    def body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a request with the beginning as its last message."""
        if not self._sent:
            return dict(body)
        message = {"role": "assistant", "content": self._sent, **_MARKS.get(self._prefill, {})}
        return {**body, "messages": [*body["messages"], message], **_FIELDS.get(self._prefill, {})}

    async def rest(self, events: AsyncGenerator[ModelEvent]) -> AsyncGenerator[ModelEvent]:
        """Yield what comes after the beginning in an answer to :meth:`body`, and close it.

        Reasoning is dropped, since readers have had it. Raises ModelError with the code ``not_resumable`` for an
        endpoint that refuses the message.
        """
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TextDelta):
                        for text in self._take(event.text):
                            yield TextDelta(text)
                    elif not (isinstance(event, ReasoningDelta) and self._sent):
                        for text in self._flush():
                            yield TextDelta(text)
                        yield event
        except ModelError as error:
            if error.status in _REFUSED and self._sent:
                raise not_resumable("the model's endpoint does not take a prefilled message") from error
            raise
        for text in self._flush():
            yield TextDelta(text)

    def _take(self, text: str) -> list[str]:
        """Return the text that is certainly new."""
        if self._is_read:
            return [text]
        self._held += text
        if not self._is_begun:
            if len(self._held) < len(self._sent) and self._sent.startswith(self._held):
                return []
            self._held = self._held.removeprefix(self._sent)
            self._is_begun = True
        if self._space.startswith(self._held):
            return []
        return self._flush()

    def _flush(self) -> list[str]:
        if self._is_read or not self._held:
            return []
        self._is_read = True
        count = 0
        while count < min(len(self._held), len(self._space)) and self._held[count] == self._space[count]:
            count += 1
        rest, self._held = self._held[count:], ""
        return [rest] if rest else []


_CALLS = (ToolCall, ToolCallDelta, ToolResult, ApprovalRequest)
