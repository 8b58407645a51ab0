"""The tables: numbered migrations, kept as SQL files in this package (contract §2).

The files are the one source. ``aibind schema`` prints them, :func:`migrate` applies them through any SqliteClient, and
``wrangler d1 migrations apply`` takes them as they are. Each statement is harmless where it was applied before, and on
tables that were made with the JavaScript packages' SQL.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SqliteConstraintError
from .client import SqliteClient, Statement

__all__ = [
    "CHUNKS_TABLE",
    "CONVERSATIONS_TABLE",
    "MIGRATIONS_TABLE",
    "STATUS_TABLE",
    "Migration",
    "migrate",
    "migrations",
    "quote_identifier",
    "schema_sql",
]

CHUNKS_TABLE = "aibind_stream_chunks"
STATUS_TABLE = "aibind_stream_status"
CONVERSATIONS_TABLE = "aibind_conversations"
MIGRATIONS_TABLE = "aibind_migrations"
"""Where :func:`migrate` keeps what it applied."""

_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_QUOTED = re.compile(r'"(\w+)"')
_COMMENT = re.compile(r"--[^\n]*\n?")
_FILE = re.compile(r"(\d{4})_(\w+)\.sql\Z")


@dataclass(frozen=True, slots=True)
class Migration:
    """Is one step of the schema.

    ``name`` is the file's, without ``.sql``; ``sql`` its text with its comments, ``statements`` the same one by one;
    ``tables`` are the tables it makes or changes.
    """

    number: int
    name: str
    sql: str
    statements: tuple[str, ...]
    tables: tuple[str, ...]


def quote_identifier(name: str) -> str:
    """Check the name of a table and put it in quotes, so that it can stand in SQL.

    Names are ASCII letters, digits and underscores, not beginning with a digit, at most 64 of them, and do not begin
    with ``sqlite_``, which SQLite keeps for itself. Raises ValueError for any other.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(
            f"{name!r} cannot be the name of a table: use ASCII letters, digits and underscores, not a digit first"
        )
    if len(name) > _MAX_NAME_CHARS:
        raise ValueError(f"{name[:20]!r}… cannot be the name of a table: it has more than {_MAX_NAME_CHARS} characters")
    if name.lower().startswith("sqlite_"):
        raise ValueError(f'{name!r} cannot be the name of a table: SQLite keeps names with "sqlite_" for itself')
    return f'"{name}"'


def migrations(
    *,
    chunks_table: str = CHUNKS_TABLE,
    status_table: str = STATUS_TABLE,
    conversations_table: str = CONVERSATIONS_TABLE,
) -> list[Migration]:
    """Read the migrations, in order, for tables of these names. Raises ValueError for names that cannot be."""
    names = {CHUNKS_TABLE: chunks_table, STATUS_TABLE: status_table, CONVERSATIONS_TABLE: conversations_table}
    quoted = {table: quote_identifier(name) for table, name in names.items()}
    if len({name.lower() for name in (*names.values(), MIGRATIONS_TABLE)}) <= len(names):
        raise ValueError(f"Each table needs a name of its own, and none may be {MIGRATIONS_TABLE}: {names}")
    from importlib import resources  # here, as it is slow to import, and a Worker's start-up is billed

    found: list[Migration] = []
    for file in resources.files("aibind.sqlite").joinpath("migrations").iterdir():
        if match := _FILE.match(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(_migration(int(match[1]), file.name.removesuffix(".sql"), text, quoted))
    return sorted(found, key=lambda migration: migration.number)


def _migration(number: int, name: str, text: str, quoted: Mapping[str, str]) -> Migration:
    tables = tuple(quoted[table].strip('"') for table in dict.fromkeys(_QUOTED.findall(text)))
    sql = _QUOTED.sub(lambda match: quoted[match[1]], text)  # all at once: a new name may be another's old one
    parts = (part.strip() for part in _COMMENT.sub("", sql).split(";"))  # our own files hold neither in a string
    return Migration(number, name, sql, tuple(part for part in parts if part), tables)


def schema_sql(
    *,
    chunks_table: str = CHUNKS_TABLE,
    status_table: str = STATUS_TABLE,
    conversations_table: str = CONVERSATIONS_TABLE,
) -> str:
    """Return the whole schema as one SQL script. Raises ValueError for names that cannot be."""
    steps = migrations(chunks_table=chunks_table, status_table=status_table, conversations_table=conversations_table)
    return "\n".join(step.sql for step in steps)


async def migrate(
    client: SqliteClient,
    *,
    chunks_table: str = CHUNKS_TABLE,
    status_table: str = STATUS_TABLE,
    conversations_table: str = CONVERSATIONS_TABLE,
) -> list[str]:
    """Apply the migrations that the database has not had, and return their names.

    Any number of processes may do so at once: each migration is one transaction, which records it first, so that it
    is applied once. Tables of other names are migrated for themselves. Raises ValueError for names that cannot be.
    """
    steps = migrations(chunks_table=chunks_table, status_table=status_table, conversations_table=conversations_table)
    select = Statement(f'SELECT name, tables FROM "{MIGRATIONS_TABLE}"')
    create = Statement(
        f'CREATE TABLE IF NOT EXISTS "{MIGRATIONS_TABLE}" '
        "(name TEXT NOT NULL, tables TEXT NOT NULL, applied_at INTEGER NOT NULL, PRIMARY KEY (name, tables)) "
        "WITHOUT ROWID"
    )
    rows = (await client.batch([create, select]))[1].rows
    done = {(row["name"], row["tables"]) for row in rows}
    applied: list[str] = []
    for step in steps:
        key = (step.name, " ".join(step.tables))
        if key not in done and await _apply(client, step, key[1]):
            applied.append(step.name)
    return applied


async def _apply(client: SqliteClient, step: Migration, tables: str) -> bool:
    """Apply one migration; False when somebody else has, meanwhile."""
    now = int(time.time() * 1000)
    record = f'INSERT INTO "{MIGRATIONS_TABLE}" (name, tables, applied_at) VALUES (?, ?, ?)'
    try:
        await client.batch([Statement(record, (step.name, tables, now)), *map(Statement, step.statements)])
    except SqliteConstraintError:
        found = await client.execute(
            f'SELECT 1 FROM "{MIGRATIONS_TABLE}" WHERE name = ? AND tables = ?',
            (step.name, tables),
        )
        if not found.rows:
            raise
        return False
    return True
