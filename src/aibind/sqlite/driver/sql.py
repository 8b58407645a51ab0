"""What must be known of a statement before it runs: where it belongs, and whether its values can be stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from ...errors import SqliteSyntaxError, SqliteTypeError
from ..client import SqliteValue

__all__ = ["ALONE", "ALONE_PRIVATE", "PRIVATE", "READ", "WRITE", "Kind", "Step", "kind_of", "make_step"]

_Bound: TypeAlias = str | int | float | bytes | None


class Kind(NamedTuple):
    """Is where a statement, or all that belong to one call, may run."""

    reads: bool = False
    """It changes nothing: any connection, side by side with others. Else it goes to the one that writes."""
    alone: bool = False
    """SQLite runs it outside transactions only; others share one."""
    private: bool = False
    """What it makes is seen by its own connection only: from now on that must do the reading, too."""


READ = Kind(reads=True)
WRITE = Kind()
PRIVATE = Kind(private=True)
ALONE = Kind(alone=True)
ALONE_PRIVATE = Kind(alone=True, private=True)


class Step(NamedTuple):
    """Is one statement that was checked, with values that the sqlite3 module takes as they are."""

    sql: str
    args: tuple[_Bound, ...]
    kind: Kind


# SQLite passes over a byte order mark and empty statements as it does over spaces; \v and Unicode's spaces are none.
_GAP = re.compile(r"(?:[ \t\n\f\r;\ufeff]++|--[^\n]*+|/\*.*?(?:\*/|\Z))*+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
# What is opened and never closed reaches to the end; SQLite will say what is wrong with it.
_TOKEN = re.compile(
    r"""'[^']*+(?:'|\Z)|"[^"]*+(?:"|\Z)|`[^`]*+(?:`|\Z)|\[[^\]]*+(?:\]|\Z)"""
    r"""|--[^\n]*+|/\*.*?(?:\*/|\Z)|[()]|[$\w][$\w]*+""",
    re.DOTALL,
)
_TEMPORARY = re.compile(r"TEMP(?:ORARY)?\b|\w+\s+(?:IF\s+NOT\s+EXISTS\s+)?temp\s*\.", re.IGNORECASE)

_READING = frozenset({"SELECT", "VALUES", "EXPLAIN"})
_TRANSACTION = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"})
_MAIN_VERB = frozenset({"SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"})


def make_step(sql: str, args: Sequence[SqliteValue]) -> Step:
    """Check a statement and its values.

    Raises SqliteSyntaxError for an empty one and for the words that begin or end transactions, and SqliteTypeError
    for values that SQLite cannot hold.
    """
    return Step(sql, _bind(args, sql), _kind(sql))


def kind_of(steps: Sequence[Step]) -> Kind:
    """Tell where statements that belong together may run. Several are never alone: they share a transaction."""
    if len(steps) == 1:
        return steps[0].kind
    kinds = [step.kind for step in steps]
    return Kind(all(kind.reads for kind in kinds), alone=False, private=any(kind.private for kind in kinds))


@lru_cache(maxsize=256)  # the same few statements come again and again
def _kind(sql: str) -> Kind:
    start = _skip_gap(sql, 0)
    found = _WORD.match(sql, start)
    if found is None:
        if start >= len(sql):
            raise SqliteSyntaxError("The statement is empty", sql)
        return WRITE  # not SQL: SQLite says best what is wrong with it
    word = found[0].upper()
    if word in _READING:
        return READ
    if word in _TRANSACTION:
        raise SqliteSyntaxError(
            f"{word} is not taken, because all callers share one connection: give batch() the statements that belong "
            "together, and it runs them in one transaction",
            sql,
        )
    if word == "WITH":
        return _kind_of_with(sql, found.end())
    if word == "CREATE":
        return PRIVATE if _TEMPORARY.match(sql, _skip_gap(sql, found.end())) else WRITE
    if word in {"ATTACH", "DETACH"}:
        return ALONE_PRIVATE
    return ALONE if word in {"VACUUM", "PRAGMA"} else WRITE


def _skip_gap(sql: str, start: int) -> int:
    gap = _GAP.match(sql, start)
    return gap.end() if gap else start


def _kind_of_with(sql: str, start: int) -> Kind:
    """Find the verb that follows the common table expressions: the first one outside parentheses."""
    depth = 0
    for token in _TOKEN.finditer(sql, start):
        text = token[0]
        if text == "(":
            depth += 1
        elif text == ")":
            depth -= 1
        elif depth == 0 and (verb := text.upper()) in _MAIN_VERB:
            return READ if verb in _READING else WRITE
    return WRITE


_EXACT = frozenset({str, int, float, bytes, type(None)})


def _bind(args: Sequence[SqliteValue], sql: str) -> tuple[_Bound, ...]:
    if type(args) not in (tuple, list) and (isinstance(args, str | bytes) or not isinstance(args, Sequence)):
        raise SqliteTypeError(f"args must be a list or tuple of values, one for each ?, not {type(args).__name__}", sql)
    values = tuple(args)
    for value in values:
        kind = type(value)
        if kind not in _EXACT or (kind is float and value != value):  # only NaN differs from itself
            return tuple(_convert(value, position, sql) for position, value in enumerate(values, 1))
    return values


def _convert(value: object, position: int, sql: str) -> _Bound:
    """Reduce subclasses (bool, IntEnum, StrEnum, …) to what they are; refuse the rest, which would change silently."""
    if value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value != value:
            raise SqliteTypeError(f"Parameter {position} is NaN, which SQLite would store as NULL", sql)
        return float(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, memoryview):
        return value.tobytes()
    raise SqliteTypeError(
        f"Parameter {position} is of type {type(value).__name__}: "
        "SQLite holds str, int, float, bytes, bool and None; convert it (dates: to text or milliseconds)",
        sql,
    )
