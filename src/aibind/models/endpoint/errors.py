"""Errors that endpoints report, without secrets, and when a request may be repeated."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Any

from ..._json import is_list, is_object
from ...errors import ModelError

__all__ = ["LogFilter", "Redactor", "answered", "endpoint_error", "snippet"]

_MAX_CHARS = 500
_MAX_DEPTH = 6
_MESSAGE_KEYS = ("message", "msg", "detail", "error", "errors", "error_description", "description")
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_PASSING = frozenset(
    {
        "server_error",
        "internal_server_error",
        "overloaded_error",
        "overloaded",
        "rate_limit_exceeded",
        "rate_limit_error",
        "timeout",
    }
)


_HINTS = {
    401: " (check the API key)",
    404: " (check base_url and the model's name)",
}


class Redactor:
    """A function that removes secrets from a text: some endpoints repeat the key that they refuse.

    Secrets of fewer than four characters are not removed, since they occur in ordinary words.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} secrets>"

    def __call__(self, text: str) -> str:
        """Return ``text`` with ``[redacted]`` in place of every secret."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text


class LogFilter(logging.Filter):
    """A filter that removes the secrets of a URL from the line that the HTTP library logs for each request."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept every record, and remove the secrets from its message."""
        record.msg, record.args = self._redact(record.getMessage()), None
        return True


def answered(status: int) -> str:
    """Return the sentence that says with which status an endpoint refused a request."""
    return f"The model's endpoint answered {status}{_HINTS.get(status, '')}"


def endpoint_error(payload: Any, prefix: str, redact: Redactor, *, status: int | None = None) -> ModelError:
    """Return the error for what an endpoint said: parsed JSON in any of the forms in use, or text.

    Known forms: ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}``, ``{"message"}``, ``{"detail": […]}``
    and a list of one of these. Without ``status``, the payload may name it.
    """
    code, named_status = _code_of(payload)
    status = named_status if status is None else status
    message = snippet(redact(_message_of(payload, 0)), _MAX_CHARS) or "no explanation was given"
    retryable = code not in _SPENT and (_is_retryable(status) if status is not None else code in _PASSING)
    code = redact(code) if code else None
    return ModelError(f"{prefix}: {message}", status=status, code=code, retryable=retryable, for_clients=prefix)


def _is_retryable(status: int) -> bool:
    return status in (408, 409, 429) or 500 <= status <= 599


def snippet(text: str, max_chars: int = 120) -> str:
    """Return the beginning of ``text``, at most ``max_chars`` characters, on one line."""
    line = " ".join(text[: 4 * max_chars].split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def _message_of(value: Any, depth: int) -> str:
    """Return the explanation in an error's JSON; validation errors name the field they are about."""
    if isinstance(value, str):
        return value
    if is_list(value) and depth < _MAX_DEPTH:
        said = [_message_of(item, depth + 1) for item in value[:3]]
        return "; ".join(text for text in said if text)
    if is_object(value) and depth < _MAX_DEPTH:
        for key in _MESSAGE_KEYS:
            if message := _message_of(value.get(key), depth + 1):
                place = value.get("loc")
                return f"{'.'.join(map(str, place))}: {message}" if is_list(place) else message
        return json.dumps(value, default=str) if depth == 0 else ""
    return ""


def _code_of(payload: Any) -> tuple[str | None, int | None]:
    """Return the endpoint's own code, and the HTTP status that it names (OpenRouter does so within a stream)."""
    if is_list(payload):
        payload = payload[0] if payload else None
    if not is_object(payload):
        return None, None
    inner = payload.get("error")
    error = inner if is_object(inner) else payload
    codes = [str(code) for key in ("code", "type", "status") if isinstance(code := error.get(key), str | int)]
    status = next((int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)), None)
    return next((code for code in codes if code not in ("", "error")), None), status
