"""The values of statements, which cross into JavaScript: what D1 and a Durable Object's SQLite can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import SqliteSyntaxError, SqliteTypeError
from ..sqlite import SqliteValue
from .ffi import MAX_SAFE_INTEGER

__all__ = ["check_parameters", "read_integer"]


def check_parameters(sql: str, args: Sequence[SqliteValue]) -> list[str | float | bytes | None]:
    """Return the parameters of a statement as they cross; raises an error for what cannot be stored exactly."""
    if _has_lone_surrogate(sql):
        raise SqliteSyntaxError("The statement holds a lone surrogate (half of a character): make it a parameter", sql)
    return [_parameter(value, number, sql) for number, value in enumerate(args, 1)]


def _has_lone_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _parameter(value: SqliteValue, number: int, sql: str) -> str | float | bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        if _has_lone_surrogate(value):
            raise SqliteTypeError(
                f"Parameter {number} holds a lone surrogate (half of a character), which cannot be stored as "
                "UTF-8: replace it, or store the text as JSON with ASCII escapes",
                sql,
            )
        return value
    if isinstance(value, int):  # bool included
        if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            raise SqliteTypeError(
                f"Parameter {number} is {value}, but integers are exact only up to 2**53 - 1 here: store it as text",
                sql,
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise SqliteTypeError(f"Parameter {number} is {value}, which cannot be stored: use None or a text", sql)
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise SqliteTypeError(
        f"Parameter {number} is of type {type(value).__name__}: use str, int, float, bytes, bool or None", sql
    )


def read_integer(value: int) -> int | float:
    """Return an integer of a result, as a float when JavaScript does not hold it exactly: a mark that it may differ."""
    return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else float(value)
