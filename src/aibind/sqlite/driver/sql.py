"""Classification of statements before they run: on which connection, and whether their values can be stored."""

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
    """Where a statement, or all statements of one call, may run."""

    reads: bool = False
    """Whether it changes nothing, and may run on any connection; others run on the writing one."""
    alone: bool = False
    """Whether SQLite runs it only outside a transaction; others share one."""
    private: bool = False
    """Whether its effect is visible to its own connection only, which must then do all reading as well."""


READ = Kind(reads=True)
WRITE = Kind()
PRIVATE = Kind(private=True)
ALONE = Kind(alone=True)
ALONE_PRIVATE = Kind(alone=True, private=True)


class Step(NamedTuple):
    """A checked statement, with values that the sqlite3 module accepts unchanged."""

    sql: str
    args: tuple[_Bound, ...]
    kind: Kind


# SQLite skips a byte order mark and empty statements like whitespace; \v and Unicode's spaces are not whitespace to it.
_GAP = re.compile(r"(?:[ \t\n\f\r;\ufeff]++|--[^\n]*+|/\*.*?(?:\*/|\Z))*+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
# An unclosed quote or comment reaches to the end; SQLite reports the error.
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
    """Check a statement and its values, and return them as a step.

    Raises SqliteSyntaxError for an empty statement and for those that begin or end transactions, and SqliteTypeError
    for values that SQLite cannot store.
    """
    return Step(sql, _bind(args, sql), _kind(sql))


def kind_of(steps: Sequence[Step]) -> Kind:
    """Return where the statements of one call may run. Several are never ``alone``: they share a transaction."""
    if len(steps) == 1:
        return steps[0].kind
    kinds = [step.kind for step in steps]
    return Kind(all(kind.reads for kind in kinds), alone=False, private=any(kind.private for kind in kinds))


@lru_cache(maxsize=256)  # a program repeats a few statements
def _kind(sql: str) -> Kind:
    start = _skip_gap(sql, 0)
    found = _WORD.match(sql, start)
    if found is None:
        if start >= len(sql):
            raise SqliteSyntaxError("The statement is empty", sql)
        return WRITE  # not SQL: SQLite reports the error
    word = found[0].upper()
    if word in _READING:
        return READ
    if word in _TRANSACTION:
        raise SqliteSyntaxError(
            f"{word} is not allowed, because all callers share one connection: pass the statements to batch(), which "
            "runs them in one transaction",
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
    """Classify by the verb that follows the common table expressions: the first one outside parentheses."""
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
    """Convert subclasses (bool, IntEnum, StrEnum, …) to their base types; refuse values that would change silently."""
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
        "SQLite stores str, int, float, bytes, bool and None; convert it (a date: to text or milliseconds)",
        sql,
    )
