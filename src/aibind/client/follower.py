"""A reply as far as it has arrived, and the request that continues it, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from .._json import load_json
from .._retry_after import retry_after_s
from ..errors import ClientError, ReplyFailedError
from ..streams.sse import SseParser
from .approvals import WaitingCall, waiting_calls
from .calls import Answer, Call, error_of, resume_call
from .events import ReplyEvent

__all__ = ["ReplyFollower", "State"]

State: TypeAlias = Literal["live", "done", "waiting", "stopped", "error", "none"]
"""The state of a reply; ``waiting`` for a user to allow calls, and ``none`` where a session has none under way."""

_FIRST_WAIT_S = 0.25
_MAX_WAIT_S = 5.0
_MAX_ASKED_S = 60.0
"""Seconds that a server may ask to wait; it is given up when it asks for more."""

_PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request is sent again."""


class ReplyFollower:
    """One reply, which may take many connections.

    Send :meth:`next_call`. Give the response to :meth:`open`, its body to :meth:`feed` until :attr:`is_ended`, and
    whatever ends a connection before that to :meth:`lost`, which returns the seconds to wait before the next.
    """

    def __init__(
        self, first: Call, *, can_repeat: bool, stream_id: str = "", last_id: int = 0, max_failures: int
    ) -> None:
        self.stream_id = stream_id
        self.last_id = last_id
        self.state: State = "live"
        self.error: str | None = None
        self.connections = 0
        self.approvals: tuple[WaitingCall, ...] = ()
        self._pieces: list[str] = []
        self._value: str | None = None
        self._first = first
        self._can_repeat = can_repeat
        self._max_failures = max_failures
        self._failures = 0
        self._has_progress = False
        self._needs_short = False
        self._asked_wait_s = 0.0
        self._end: State = "done"
        self._parser = SseParser()

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state != "live"

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def value(self) -> Any:
        """The JSON of a structured answer so far; None before it begins."""
        return None if self._value is None else load_json(self._value)

    def next_call(self) -> Call:
        """Return the request to send: the first one, or that for the rest of the stream."""
        self.connections += 1
        self._has_progress = False
        self._asked_wait_s = 0.0
        self._parser = SseParser()  # a message that a lost connection cut in two is dropped
        return resume_call(self.stream_id, self.last_id, short=self._needs_short) if self.stream_id else self._first

    def open(self, status: int, headers: Mapping[str, str]) -> bool:
        """Return whether the response brings the reply; of any other the body goes to :meth:`refuse`."""
        if status == 204:
            self.state = "none"
            return True
        if status == 202:
            self.state = "waiting"
            return True
        if status != 200:
            return False
        if not self.stream_id:
            self.stream_id = headers.get("x-stream-id", "")
        return True

    def refuse(self, answer: Answer) -> ClientError:
        """Return the error of a response that does not bring the reply; raise it unless it is sent for again."""
        error = error_of(answer)
        if answer.status not in _PASSING or not (self.stream_id or self._can_repeat):
            raise error
        self._asked_wait_s = retry_after_s(answer.headers) or 0.0
        if self._asked_wait_s > _MAX_ASKED_S:
            raise error
        return error

    def feed(self, data: bytes) -> list[ReplyEvent]:
        """Return the events that a piece of the body completes."""
        events: list[ReplyEvent] = []
        for message in self._parser.feed(data):
            if self.is_ended:
                break
            self._has_progress = True
            if message.event == "done":
                self.state = self._end
            elif message.event == "error":
                self.error, self._end = message.data, "error"
            elif message.event == "stopped":
                self._end = "stopped"
            elif message.event != "stream-id":
                number = int(message.id) if message.id.isascii() and message.id.isdigit() else None
                if number is not None:
                    self.last_id = number
                if not message.event:
                    self._pieces.append(message.data)
                elif message.event in ("partial", "data"):
                    self._value = message.data
                elif message.event == "approval_request":
                    self.approvals += waiting_calls([load_json(message.data)])
                elif message.event == "finish" and message.data == "waiting":
                    self._end = "waiting"
                events.append(ReplyEvent(message.event, message.data, number))
        return events

    def lost(self, reason: Exception, jitter: float) -> float:
        """Return the seconds to wait before the next connection. Raises ClientError when that is of no use.

        ``jitter`` is a number from 0 to 1.
        """
        if not (self.stream_id or (self._can_repeat and not self._pieces)):
            raise ClientError(
                f"The connection was lost, and this reply cannot be resumed: {_words(reason)}"
            ) from reason
        if self._has_progress:
            self._failures = 0
            return 0.0
        if self.stream_id and self._parser.is_inside_message and not self._needs_short:
            self._needs_short = True  # the connection broke before one message was there, and so may the next
            return 0.0
        self._failures += 1
        if self._failures >= self._max_failures:
            raise ClientError(
                f"The server could not be reached {self._failures} times in a row: {_words(reason)}"
            ) from reason
        wait_s = min(_FIRST_WAIT_S * 2.0 ** (self._failures - 1), _MAX_WAIT_S) * (1 - jitter / 2)
        return max(wait_s, self._asked_wait_s)

    def raise_failure(self) -> None:
        """Raise ReplyFailedError when the reply ended with an error."""
        if self.state == "error":
            raise ReplyFailedError(self.error or "The reply failed", self.stream_id)


def _words(reason: Exception) -> str:
    return str(reason) or type(reason).__name__
