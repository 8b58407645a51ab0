"""A reader's position in a stream, and the SSE id that encodes it.

The id of a whole chunk is its seq. A live reader may be inside a chunk that is still growing: the id of a part is
``seq * 10**9 + characters so far``. Both stay below 2**53, because the JavaScript client parses ids as integers.

An offset may go past the end of its chunk, into those that follow: a reader has the id of a position in what was not
stored yet, and a producer that took over has stored the same events in other chunks.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["END_ID", "MAX_ID", "Position"]

_PART = 10**9
MAX_ID = 2**53 - 1
"""The largest id that a JavaScript client holds exactly."""

END_ID = MAX_ID
"""The id of ``done``, the last message: a client that comes back with it has the whole stream."""


class Position(NamedTuple):
    """The next character to read: ``offset`` characters into chunk ``seq``."""

    seq: int = 1
    offset: int = 0

    @classmethod
    def after(cls, last_id: int) -> Position:
        """Return the position after the message with this id (0: the beginning). Raises ValueError out of range."""
        if not 0 <= last_id <= MAX_ID:
            raise ValueError(f"Message id {last_id} is out of range: 0 to {MAX_ID}")
        if last_id < _PART:
            return cls(last_id + 1, 0)
        return cls(*divmod(last_id, _PART))

    @classmethod
    def before(cls, last_id: int, after: int) -> Position:
        """Return where an event begins that ends at ``last_id`` and follows an event that ended at ``after``.

        A position counts the characters of text, in a growing chunk and in one of several events alike.
        """
        end, begin = cls.after(last_id), cls.after(after)
        seq = end.seq if end.offset else end.seq - 1
        return begin if begin.seq == seq else cls(seq)

    @property
    def id(self) -> int:
        """The id of a message that ends here."""
        return self.seq * _PART + self.offset if self.offset else self.seq - 1
