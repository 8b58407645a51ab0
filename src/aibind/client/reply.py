"""The properties that both kinds of replies have."""

from __future__ import annotations

from typing import Any

from .approvals import WaitingCall
from .follower import ReplyFollower, State

__all__ = ["ReplyState"]


class ReplyState:
    """A reply as far as it has arrived."""

    def __init__(self, follower: ReplyFollower) -> None:
        self._follower = follower

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.stream_id!r} {self.state} after {self.last_id}>"

    @property
    def stream_id(self) -> str:
        """The id of the stream, which :meth:`AsyncClient.resume` takes; empty until the server has told it."""
        return self._follower.stream_id

    @property
    def last_id(self) -> int:
        """The id of the last event, after which the reply can be resumed."""
        return self._follower.last_id

    @property
    def state(self) -> State:
        """The state: ``live``, ``done``, ``waiting`` for a user to allow calls, ``stopped``, ``error``, or ``none``.

        It is ``none`` where a session has no reply under way.
        """
        return self._follower.state

    @property
    def approvals(self) -> tuple[WaitingCall, ...]:
        """The calls that the reply asks a user about, which :meth:`AsyncClient.approve` answers."""
        return self._follower.approvals

    @property
    def error(self) -> str | None:
        """The error that the reply ended with."""
        return self._follower.error

    @property
    def text(self) -> str:
        """The text of the answer so far."""
        return self._follower.text

    @property
    def value(self) -> Any:
        """The JSON of a structured answer as far as it has come; None before that."""
        return self._follower.value

    @property
    def connections(self) -> int:
        """The number of connections that the reply has taken."""
        return self._follower.connections
