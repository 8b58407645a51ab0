"""The bounds of what one client, and all of them, may ask of a handler."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .._json import is_list, is_object
from ..errors import RequestError
from .contents import texts_of

__all__ = ["Limits"]

_TEXTS = ("prompt", "system", "input")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a handler. None is no bound.

    - ``streams`` and ``streams_per_owner`` are the replies that the handler produces at one time, in all and for one
      owner of :class:`Access`; ``followers``, ``followers_per_owner`` and ``followers_per_stream`` the responses that
      follow replies. One more is refused with 429.
    - ``message_chars`` is the length of a prompt, of a system prompt and of the text of each message, ``messages`` the
      number of messages and ``attachments`` that of attachments in a request, and in each of its messages. Beyond that
      it is refused with 413.
    - ``reply_chars`` is the length of a reply, with its reasoning and the arguments of its calls, and ``reply_s`` the
      seconds from when the model is asked until it has answered. A reply ends there with an error, and is kept.

    Raises ValueError for a bound below 1, or of 0 seconds.
    """

    streams: int | None = 2_000
    streams_per_owner: int | None = 50
    followers: int | None = 20_000
    followers_per_owner: int | None = 500
    followers_per_stream: int | None = 1_000
    message_chars: int | None = 1_000_000
    messages: int | None = 2_000
    attachments: int | None = 20
    reply_chars: int | None = 2_000_000
    reply_s: float | None = 3_600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_time = field.name == "reply_s"
            if value is not None and not (value > 0 if is_time else value >= 1):
                advice = "a number of seconds above 0" if is_time else "1 or more"
                raise ValueError(f"{field.name} is {value}: use {advice}, or None for no bound")

    def check(self, body: object) -> None:
        """Raise RequestError, with status 413, for a decoded body that holds more than is allowed."""
        if not is_object(body):
            return
        for name in _TEXTS:
            text = body.get(name)
            if isinstance(text, str):
                _check("message_chars", self.message_chars, len(text), f"{name} has {{}} characters")
        tools = body.get("tools")
        if is_list(tools):
            described = (tool.get("description") for tool in tools if is_object(tool))
            length = sum(len(text) for text in described if isinstance(text, str))
            _check("message_chars", self.message_chars, length, "tools has descriptions of {} characters")
        messages = body.get("messages")
        if is_list(messages):
            _check("messages", self.messages, len(messages), "The request has {} messages")
            for number, message in enumerate(messages, 1):
                _check("message_chars", self.message_chars, _length(message), f"Message {number} has {{}} characters")
                if is_object(message):
                    self._check_attachments(message, f"Message {number}")
        self._check_attachments(body, "The request")

    def _check_attachments(self, holder: dict[str, Any], what: str) -> None:
        attachments = holder.get("attachments")
        if is_list(attachments):
            _check("attachments", self.attachments, len(attachments), f"{what} has {{}} attachments")


def _check(name: str, limit: int | None, count: int, what: str) -> None:
    if limit is not None and count > limit:
        raise RequestError(f"{what.format(f'{count:,}')}, and this server takes at most {limit:,} ({name})", 413)


def _length(message: Any) -> int:
    """Return the characters of a message's text; files in it count as bytes of the body only."""
    return sum(map(len, texts_of(message.get("content")))) if is_object(message) else 0
