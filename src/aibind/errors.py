"""Every error that aibind raises on purpose.

::

    AibindError
    ├── HistoryError                  a conversation tree was used or stored wrongly (also a ValueError)
    │   ├── NodeNotFoundError         no such message (also a LookupError)
    │   └── MalformedTreeError        stored JSON is not a valid tree
    ├── StreamError                   has .stream_id
    │   ├── StreamExistsError         create() of an id that is taken
    │   ├── StreamNotFoundError       unknown, or already swept
    │   ├── StreamNotActiveError      a write to a stream that has ended; has .state
    │   ├── StreamConflictError       two producers write to one stream
    │   └── ProducerLostError         the lease ran out: the producer was killed or cut off
    ├── TransientError                may succeed when tried again; a write MAY have happened
    │   └── OverloadedError           the same, but wait longer; has .retry_after_s
    ├── SqliteError                   the database refused; has .sql
    │   ├── SqliteConstraintError     UNIQUE, NOT NULL, CHECK, …
    │   ├── SqliteTransientError      also a TransientError: lost connection, busy, reset
    │   │   └── SqliteOverloadedError also an OverloadedError
    │   ├── SqliteSchemaError         a table or column is missing: apply the schema
    │   ├── SqliteSyntaxError         the statement is not valid SQL, or not allowed
    │   ├── SqliteTooLargeError       over a limit: row, statement, number of parameters
    │   └── SqliteTypeError           a value that the database cannot hold (also a TypeError)
    ├── ConversationError             has .session_id
    │   ├── CorruptConversationError  stored, but not readable; nothing was overwritten
    │   ├── ConversationTooLargeError does not fit the store's limits
    │   └── ConversationConflictError kept changing while it was being saved
    ├── ModelError                    the model or its endpoint failed; has .status, .code and .retryable
    │   └── ModelTimeoutError
    ├── SourceError                   a source ends its stream with a message for its readers
    └── RequestError                  a client's request is wrong; has .status (4xx)

A driver's own error is always mapped to one of these and kept as ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "PRODUCER_LOST",
    "AibindError",
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
    "ProducerLostError",
    "RequestError",
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


class AibindError(Exception):
    """Is the root of every error raised by this package."""


# --- history ---------------------------------------------------------------------------------------------------------


class HistoryError(AibindError, ValueError):
    """Tells that a conversation tree was used or stored wrongly."""


class NodeNotFoundError(HistoryError, LookupError):
    """Tells that a tree has no such message. ``node_id`` is the id that was asked for."""

    def __init__(self, message: str, node_id: str) -> None:
        super().__init__(message)
        self.node_id = node_id


class MalformedTreeError(HistoryError):
    """Tells that stored JSON is not a valid tree, and what is wrong with it."""


# --- streams ---------------------------------------------------------------------------------------------------------


class StreamError(AibindError):
    """Tells that an operation on one stream failed. ``stream_id`` is the stream's id."""

    def __init__(self, message: str, stream_id: str) -> None:
        super().__init__(message)
        self.stream_id = stream_id


class StreamExistsError(StreamError):
    """Tells that ``create`` was called with an id that is taken."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f'Stream "{stream_id}" already exists: give each stream a new id', stream_id)


class StreamNotFoundError(StreamError):
    """Tells that a stream is unknown: never created, or swept after it expired."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f'Stream "{stream_id}" does not exist or has expired', stream_id)


class StreamNotActiveError(StreamError):
    """Tells that a stream has ended and takes no more chunks. ``state`` is how it ended."""

    def __init__(self, stream_id: str, state: str) -> None:
        super().__init__(f'Stream "{stream_id}" is {state}: it takes no more chunks', stream_id)
        self.state = state


class StreamConflictError(StreamError):
    """Tells that another producer writes to the same stream. Each stream has one producer."""

    def __init__(self, stream_id: str, seq: int) -> None:
        super().__init__(f'Chunk {seq} of stream "{stream_id}" was written by another producer', stream_id)
        self.seq = seq


PRODUCER_LOST = "producer lost"
"""The message for readers of a stream whose producer was lost."""


class ProducerLostError(StreamError):
    """Tells that the producer stopped renewing its lease: it was killed or cut off. What was flushed can be read."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(PRODUCER_LOST, stream_id)


# --- storage ---------------------------------------------------------------------------------------------------------


class TransientError(AibindError):
    """Tells that an operation may succeed when tried again. A write may nevertheless have happened."""


class OverloadedError(TransientError):
    """Tells that the store asks for patience. ``retry_after_s`` is how long, in seconds, when it said so."""

    retry_after_s: float | None = None


class SqliteError(AibindError):
    """Tells that a database refused a statement. ``sql`` is the statement, when it is known."""

    def __init__(self, message: str, sql: str | None = None) -> None:
        super().__init__(message)
        self.sql = sql


class SqliteConstraintError(SqliteError):
    """Tells that a UNIQUE, NOT NULL, CHECK or FOREIGN KEY constraint failed; nothing was written."""


class SqliteTransientError(SqliteError, TransientError):
    """Tells that the database was busy, reset or out of reach; a write may have happened."""


class SqliteOverloadedError(SqliteTransientError, OverloadedError):
    """Tells that the database has too many requests waiting."""


class SqliteSchemaError(SqliteError):
    """Tells that a table or column is missing: apply the schema (``aibind schema`` prints it)."""


class SqliteSyntaxError(SqliteError):
    """Tells that a statement is not valid SQL, or not allowed here."""


class SqliteTooLargeError(SqliteError):
    """Tells that a row, a statement or its parameters are over the database's limit."""


class SqliteTypeError(SqliteError, TypeError):
    """Tells that a value is of a type, or out of a range, that the database cannot hold exactly."""


# --- conversations ---------------------------------------------------------------------------------------------------


class ConversationError(AibindError):
    """Tells that a conversation could not be loaded or saved. ``session_id`` names it."""

    def __init__(self, message: str, session_id: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class CorruptConversationError(ConversationError):
    """Tells that a stored conversation cannot be read. It was left as it is."""


class ConversationTooLargeError(ConversationError):
    """Tells that a conversation does not fit the store's limits. Nothing was written."""


class ConversationConflictError(ConversationError):
    """Tells that a conversation kept changing while it was being saved. Nothing was written."""


# --- models and requests ---------------------------------------------------------------------------------------------


class ModelError(AibindError):
    """Tells that a model failed.

    ``status`` is the endpoint's HTTP status and ``code`` its own error code, when there is one;
    ``retryable`` says whether the same request may succeed later.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retryable = retryable


class ModelTimeoutError(ModelError):
    """Tells that a model did not answer in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class SourceError(AibindError):
    """Raised by a source to end its stream with this message for the stream's readers.

    Exceptions that are not aibind's are logged, and their messages are not shown to readers.
    """


class RequestError(AibindError):
    """Tells that a client's request is wrong. ``status`` is the HTTP status to answer with (4xx)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
