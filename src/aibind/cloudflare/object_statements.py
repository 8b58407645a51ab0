"""Statements, their results and their errors as JSON, on their way between a Worker and an object."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, cast

from .. import errors
from .._json import is_object
from ..errors import SqliteError
from ..sqlite import SqliteResult, SqliteRow, SqliteValue, Statement

__all__ = ["read_answer", "read_statements", "write_answer", "write_failure", "write_statements"]


def write_statements(statements: Sequence[Statement]) -> str:
    """Return statements as JSON. Raises SqliteTypeError for a parameter that is no value of a database."""
    try:
        return json.dumps([[statement.sql, list(statement.args)] for statement in statements], default=_write_bytes)
    except TypeError as error:
        raise errors.SqliteTypeError(f"{error}: use str, int, float, bytes, bool or None") from error


def read_statements(text: str) -> list[Statement]:
    """Return the statements of :func:`write_statements`."""
    return [Statement(sql, tuple(map(_read_value, args))) for sql, args in json.loads(text)]


def write_answer(results: Sequence[SqliteResult], version: int) -> str:
    """Return the results of statements as JSON, with the version of the object's streams."""
    found = [[result.rows, result.rows_read, result.rows_written] for result in results]
    return json.dumps({"results": found, "version": version}, default=_write_bytes)


def write_failure(error: SqliteError, version: int) -> str:
    """Return an error as JSON, by the name of its class."""
    return json.dumps({"error": [type(error).__name__, str(error), error.sql], "version": version})


def read_answer(text: str) -> tuple[list[SqliteResult], int]:
    """Return what :func:`write_answer` was given. Raises the error that :func:`write_failure` was given."""
    answer: dict[str, Any] = json.loads(text)
    if "error" in answer:
        name, message, sql = answer["error"]
        raise cast("type[SqliteError]", getattr(errors, name))(message, sql)
    results = [SqliteResult([_read_row(row) for row in rows], *counts) for rows, *counts in answer["results"]]
    return results, answer["version"]


def _read_row(row: dict[str, Any]) -> SqliteRow:
    return {name: _read_value(value) for name, value in row.items()}


def _read_value(value: Any) -> SqliteValue:
    return base64.b64decode(value["base64"]) if is_object(value) else value


def _write_bytes(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(cast("bytes", value))).decode()}
    raise TypeError(f"A parameter is of type {type(value).__name__}")
