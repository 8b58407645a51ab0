"""The error tree: every error that aibind raises on purpose.

::

    AibindError
    ├── HistoryError                  a conversation tree was used or stored wrongly (also a ValueError)
    │   ├── NodeNotFoundError         no such message (also a LookupError)
    │   ├── PartialHistoryError       only a part of the conversation was loaded
    │   └── MalformedTreeError        stored JSON is not a valid tree
    ├── StreamError                   has .stream_id
    │   ├── StreamExistsError         create() of an id that is taken
    │   ├── StreamNotFoundError       unknown, or already swept
    │   ├── StreamNotActiveError      a write to a stream that has ended; has .state
    │   ├── StreamConflictError       two producers write to one stream; has .seq
    │   └── ProducerLostError         the lease ran out: the producer was killed or cut off
    ├── TransientError                may succeed when tried again; a write may have happened
    │   └── OverloadedError           the same, but wait longer; has .retry_after_s
    ├── SqliteError                   the database refused a statement; has .sql
    │   ├── SqliteConstraintError     UNIQUE, NOT NULL, CHECK, …
    │   ├── SqliteTransientError      also a TransientError: lost connection, busy, reset
    │   │   └── SqliteOverloadedError also an OverloadedError
    │   ├── SqliteSchemaError         a table or column is missing: apply the schema
    │   ├── SqliteSyntaxError         the statement is not valid SQL, or not allowed
    │   ├── SqliteTooLargeError       over a limit: row, statement, number of parameters
    │   └── SqliteTypeError           a value that the database cannot hold (also a TypeError)
    ├── ConversationError             has .session_id
    │   ├── ConversationConflictError others keep changing the conversation; nothing was written
    │   ├── CorruptConversationError  stored, but not readable; nothing was overwritten
    │   └── ConversationTooLargeError does not fit the store's limits
    ├── ModelError                    the model or its endpoint failed; has .status, .code and .retryable
    │   └── ModelTimeoutError
    ├── SourceError                   a source ends its stream with a message for its readers
    ├── RequestError                  a client's request is wrong; has .status (4xx)
    │   └── SessionBusyError          a reply of the session is under way; has .stream_id
    └── ClientError                   aibind.client: a server refused, or is out of reach; has .status and .stream_id
        └── ReplyFailedError          the reply ended with an error

A driver's own error is always mapped to one of these and kept as ``__cause__``. Errors can be copied and pickled, with
their attributes and notes; as with Python's own errors, the cause and the traceback stay behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = [
    "PRODUCER_LOST",
    "AibindError",
    "ClientError",
    "ConversationConflictError",
    "ConversationError",
    "ConversationTooLargeError",
    "CorruptConversationError",
    "HistoryError",
    "MalformedTreeError",
    "ModelError",
    "ModelTimeoutError",
    "NodeNotFoundError",
    "OverloadedError",
    "PartialHistoryError",
    "ProducerLostError",
    "ReplyFailedError",
    "RequestError",
    "SessionBusyError",
    "SourceError",
    "SqliteConstraintError",
    "SqliteError",
    "SqliteOverloadedError",
    "SqliteSchemaError",
    "SqliteSyntaxError",
    "SqliteTooLargeError",
    "SqliteTransientError",
    "SqliteTypeError",
    "StreamConflictError",
    "StreamError",
    "StreamExistsError",
    "StreamNotActiveError",
    "StreamNotFoundError",
    "TransientError",
]


_E = TypeVar("_E", bound="AibindError")


class AibindError(Exception):
    """The root of every error that this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way calls __init__ with the message alone, which most of these cannot be made from.
        return _restore, (type(self), self.args), dict(self.__dict__)


def _restore(kind: type[_E], args: tuple[Any, ...]) -> _E:
    """Make an error of its ``args``, without ``__init__``; unpickling then sets its attributes."""
    return kind.__new__(kind, *args)


# --- history ---------------------------------------------------------------------------------------------------------


class HistoryError(AibindError, ValueError):
    """Raised when a conversation tree is used wrongly, or stored wrongly."""


class NodeNotFoundError(HistoryError, LookupError):
    """Raised when a tree has no message of the given id. ``node_id`` is that id."""

    def __init__(self, message: str, node_id: str) -> None:
        super().__init__(message)
        self.node_id = node_id


class PartialHistoryError(HistoryError):
    """Raised when an operation needs all of a conversation, and only the end of it was loaded."""


class MalformedTreeError(HistoryError):
    """Raised when stored JSON is not a valid tree; the message names the node and what is wrong with it."""


# --- streams ---------------------------------------------------------------------------------------------------------


class StreamError(AibindError):
    """Raised when an operation on one stream fails. ``stream_id`` is the stream's id."""

    def __init__(self, message: str, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class StreamExistsError(StreamError):
    """Raised when ``create`` is called with an id that is taken."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f'Stream "{stream_id}" already exists: give each stream a new id', stream_id)


class StreamNotFoundError(StreamError):
    """Raised when a stream is unknown: never created, or removed after it expired."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f'Stream "{stream_id}" does not exist or has expired', stream_id)


class StreamNotActiveError(StreamError):
    """Raised by a write to a stream that takes no more chunks.

    ``state`` is how it ended (``done``, ``stopped`` or ``error``), or ``stopping``: its producer was asked to end it.
    """

    def __init__(self, stream_id: str, state: str) -> None:
        super().__init__(f'Stream "{stream_id}" is {state}: it takes no more chunks', stream_id)
        self.state = state


class StreamConflictError(StreamError):
    """Raised when another producer writes to the same stream. ``seq`` is the chunk that both wrote."""

    def __init__(self, stream_id: str, seq: int) -> None:
        super().__init__(f'Chunk {seq} of stream "{stream_id}" was written by another producer', stream_id)
        self.seq = seq


PRODUCER_LOST = "producer lost"
"""The message for readers of a stream whose producer was lost."""


class ProducerLostError(StreamError):
    """Raised for readers when a producer, killed or cut off, no longer renews its lease. What it stored can be read."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(PRODUCER_LOST, stream_id)


# --- storage ---------------------------------------------------------------------------------------------------------


class TransientError(AibindError):
    """Raised when an operation may succeed on another attempt. A write that raised it may have happened."""


class OverloadedError(TransientError):
    """Raised when a store asks for a pause. ``retry_after_s`` is the pause in seconds, None when it did not say."""

    retry_after_s: float | None = None


class SqliteError(AibindError):
    """Raised when a database refuses a statement. ``sql`` is the statement, None when it is not known."""

    def __init__(self, message: str, sql: str | None = None) -> None:
        super().__init__(message)
        self.sql = sql


class SqliteConstraintError(SqliteError):
    """Raised when a UNIQUE, NOT NULL, CHECK or FOREIGN KEY constraint fails. Nothing was written."""


class SqliteTransientError(SqliteError, TransientError):
    """Raised when the database was busy, reset or out of reach. A write may have happened."""


class SqliteOverloadedError(SqliteTransientError, OverloadedError):
    """Raised when too many requests are waiting for the database."""


class SqliteSchemaError(SqliteError):
    """Raised when a table or column is missing. Apply the schema; ``aibind schema`` prints it."""


class SqliteSyntaxError(SqliteError):
    """Raised when a statement is not valid SQL, or not allowed here."""


class SqliteTooLargeError(SqliteError):
    """Raised when a row, a statement or its parameters exceed the database's limits."""


class SqliteTypeError(SqliteError, TypeError):
    """Raised when a value has a type or a size that the database cannot hold exactly."""


# --- conversations ---------------------------------------------------------------------------------------------------


class ConversationError(AibindError):
    """Raised when a conversation cannot be loaded or saved. ``session_id`` is its id."""

    def __init__(self, message: str, session_id: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class CorruptConversationError(ConversationError):
    """Raised when a stored conversation cannot be read. It was left unchanged."""


class ConversationConflictError(ConversationError):
    """Raised when other writers keep saving a conversation first, or removed what was to be continued.

    Nothing was written; in KV, what was written was overwritten.
    """


class ConversationTooLargeError(ConversationError):
    """Raised when a conversation exceeds the store's limits. Nothing was written."""


# --- models and requests ---------------------------------------------------------------------------------------------


class ModelError(AibindError):
    """Raised when a model fails.

    ``status`` is the endpoint's HTTP status and ``code`` its own error code, each None when there is none.
    ``retryable`` is whether the same request may succeed later. ``for_clients`` is the message that clients see: by
    default all of it, and for what an endpoint said, which is not meant for them, a sentence without that.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retryable: bool = False,
        for_clients: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retryable = retryable
        self.for_clients = message if for_clients is None else for_clients


class ModelTimeoutError(ModelError):
    """Raised when a model does not answer in time. ``retryable`` is true."""

    def __init__(self, message: str, *, for_clients: str | None = None) -> None:
        super().__init__(message, retryable=True, for_clients=for_clients)


class SourceError(AibindError):
    """Raised by a source to end its stream with this message for the stream's readers.

    Exceptions that are not aibind's are logged, and their messages are not shown to readers.
    """


class RequestError(AibindError):
    """Raised when a client's request is wrong. ``status`` is the HTTP status to answer with (4xx).

    ``headers`` go with the answer, such as ``WWW-Authenticate`` with status 401.
    """

    def __init__(self, message: str, status: int = 400, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class SessionBusyError(RequestError):
    """Raised when a request is refused because of a reply of its session, whose stream is ``stream_id``."""

    def __init__(self, message: str, stream_id: str, status: int = 409) -> None:
        super().__init__(message, status)
        self.stream_id = stream_id


class ClientError(AibindError):
    """Raised by :mod:`aibind.client` when a server refuses a request, or is out of reach.

    ``status`` is the HTTP status, None when no answer came. ``stream_id`` is the stream that the error is about, such
    as the reply that keeps a session busy; None when there is none.
    """

    def __init__(self, message: str, status: int | None = None, *, stream_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.stream_id = stream_id


class ReplyFailedError(ClientError):
    """Raised by :mod:`aibind.client` at the end of a reply that failed; the events before it are all that there is."""

    def __init__(self, message: str, stream_id: str | None = None) -> None:
        super().__init__(message, stream_id=stream_id)
