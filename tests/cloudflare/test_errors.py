"""What Cloudflare says, as our errors."""

from __future__ import annotations

import pytest

from aibind.cloudflare.kv import map_error as map_kv_error
from aibind.cloudflare.sql_errors import did_not_run, map_error
from aibind.errors import (
    AibindError,
    ConversationError,
    ConversationTooLargeError,
    OverloadedError,
    SqliteConstraintError,
    SqliteError,
    SqliteOverloadedError,
    SqliteSchemaError,
    SqliteSyntaxError,
    SqliteTooLargeError,
    SqliteTransientError,
    SqliteTypeError,
    TransientError,
)


@pytest.mark.parametrize(
    ("message", "kind", "told"),
    [
        ("UNIQUE constraint failed: t.c: SQLITE_CONSTRAINT (extended: X)", SqliteConstraintError, "t.c"),
        ("no such table: t: SQLITE_ERROR", SqliteSchemaError, "aibind schema"),
        ("table t has no column named c: SQLITE_ERROR", SqliteSchemaError, "aibind schema"),
        ('near "x": syntax error at offset 0: SQLITE_ERROR', SqliteSyntaxError, "near"),
        ('near "Network connection lost": syntax error: SQLITE_ERROR', SqliteSyntaxError, "near"),
        ("too many SQL variables at offset 207: SQLITE_ERROR", SqliteTooLargeError, "JSON array"),
        ("too many columns in result set: SQLITE_ERROR", SqliteTooLargeError, "columns"),
        ("statement too long: SQLITE_TOOBIG", SqliteTooLargeError, "100 KB"),
        ("string or blob too big: SQLITE_TOOBIG", SqliteTooLargeError, "2 MB"),
        ("datatype mismatch: SQLITE_MISMATCH", SqliteTypeError, "mismatch"),
        ("not authorized: SQLITE_AUTH", SqliteSyntaxError, "not allow"),
        ("malformed JSON: SQLITE_ERROR", SqliteError, "malformed"),
        ("Network connection lost.", SqliteTransientError, "lost"),
        ("D1 DB is overloaded. Requests queued for too long.", SqliteOverloadedError, "overloaded"),
        ("D1 DB exceeded its CPU time limit and was reset.", SqliteError, "CPU"),
        ("Cannot perform I/O on behalf of a different request.", SqliteError, "env"),
        ("who knows", SqliteError, "who knows"),
    ],
)
def test_d1(message: str, kind: type[SqliteError], told: str) -> None:
    error = map_error(f"D1_ERROR: {message}", "SELECT 1")
    assert type(error) is kind
    assert told in str(error)
    assert "D1_ERROR" not in str(error)
    assert error.sql == "SELECT 1"


def test_d1_type_errors() -> None:
    error = map_error("D1_TYPE_ERROR: Type 'bigint' not supported for value '1'")
    assert type(error) is SqliteTypeError
    assert isinstance(error, TypeError)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("D1_ERROR: D1 DB is overloaded. Requests queued for too long.", True),
        ("D1_ERROR: D1 DB is overloaded. Too many requests queued.", True),
        ("D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.", True),
        ("D1_ERROR: Network connection lost.", False),
        ("D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.", False),
        ("D1_ERROR: D1 DB reset because its code was updated.", False),
    ],
)
def test_only_what_never_ran_may_be_written_again(message: str, expected: bool) -> None:
    assert did_not_run(message) is expected


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("KV PUT failed: 429 Too Many Requests", OverloadedError),
        ("KV GET failed: 503 Service Unavailable", TransientError),
        ("Network connection lost.", TransientError),
        ("KV PUT failed: 413 Value length of 30000000 exceeds limit of 26214400.", ConversationTooLargeError),
        ("KV PUT failed: 400 Invalid expiration_ttl of 5.", ConversationError),
        ("who knows", ConversationError),
    ],
)
def test_kv(message: str, kind: type[AibindError]) -> None:
    error = map_kv_error(message, "session")
    assert type(error) is kind
    assert message in str(error)
    if isinstance(error, OverloadedError):
        assert error.retry_after_s == 1.0
