"""The protocol of a reply that is read message by message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ...errors import ModelError
from ..model import ModelEvent
from .errors import Redactor, snippet

__all__ = ["BROKE_OFF", "EndpointReply", "cut_off", "garbage"]

BROKE_OFF = "The model's endpoint broke off with an error"


class EndpointReply(Protocol):
    """One reply in some format, which arrives in messages.

    ``finished`` becomes true when the model has said why it stopped, ``done`` when nothing more is expected. Then
    :meth:`end` returns the last events, and ``failure`` is the error to raise after them, or None.
    """

    done: bool
    finished: bool
    failure: ModelError | None

    def feed(self, data: str, event: str = "") -> Iterator[ModelEvent]:
        """Yield the events of one message. Raises ModelError for an error, and for data that is not a reply."""
        ...

    def end(self) -> Sequence[ModelEvent]:
        """Return the last events. Raises ModelError when the reply is not whole."""
        ...


def cut_off() -> ModelError:
    """Return the error for a reply whose connection ended before the reply did."""
    return ModelError(
        "The model's reply was cut off: the connection ended before the reply did", code="cut_off", retryable=True
    )


def garbage(what: str, data: Any, redact: Redactor) -> ModelError:
    """Return the error for data that is not a reply."""
    shown = snippet(redact(str(data)))
    said = f"The model's endpoint sent {what}"
    return ModelError(f"{said}: {shown!r}", code="malformed_reply", retryable=True, for_clients=said)
