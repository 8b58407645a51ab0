"""The schema: numbered migrations, kept as SQL files in this package (contract, section 2).

The files are the only source. ``aibind schema`` prints them, :func:`migrate` applies them through any SqliteClient, and
``wrangler d1 migrations apply`` takes them unchanged. They keep what is in tables that were created with the JavaScript
packages' SQL, or by another way to apply them. A file is applied once: ``CREATE`` statements could be repeated, but
SQLite refuses to add a column that is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from .._time import now_ms
from ..errors import SqliteConstraintError, SqliteSyntaxError
from .client import SqliteClient, Statement

__all__ = [
    "CHUNKS_TABLE",
    "CONVERSATIONS_TABLE",
    "FILES_TABLE",
    "MESSAGES_TABLE",
    "MESSAGE_FILES_TABLE",
    "MIGRATIONS_TABLE",
    "SESSIONS_TABLE",
    "STATUS_TABLE",
    "Migration",
    "TableNames",
    "migrate",
    "migrations",
    "quote_identifier",
    "schema_sql",
]

CHUNKS_TABLE = "aibind_stream_chunks"
STATUS_TABLE = "aibind_stream_status"
CONVERSATIONS_TABLE = "aibind_conversations"
SESSIONS_TABLE = "aibind_sessions"
MESSAGES_TABLE = "aibind_messages"
FILES_TABLE = "aibind_files"
MESSAGE_FILES_TABLE = "aibind_message_files"
MIGRATIONS_TABLE = "aibind_migrations"
"""The table in which :func:`migrate` records what it applied."""

_MAX_NAME_CHARS = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_QUOTED = re.compile(r'"(\w+?)(_by_\w+)?"')  # a table, or an index, whose name continues that of its table
_COMMENT = re.compile(r"--[^\n]*\n?")
_ADDED_COLUMN = r"ALTER TABLE \S+ ADD COLUMN (\w+)"
_DUPLICATE_COLUMN = r"duplicate column name: (\w+)"
_FILE = re.compile(r"(\d{4})_(\w+)\.sql\Z")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    ``name`` is the name of its file without ``.sql``, ``sql`` its text with the comments, ``statements`` the same one
    by one, and ``tables`` the tables that it creates or changes.
    """

    number: int
    name: str
    sql: str
    statements: tuple[str, ...]
    tables: tuple[str, ...]


def quote_identifier(name: str) -> str:
    """Return the name of a table in quotes, safe to put into SQL.

    A name is at most 64 ASCII letters, digits and underscores; it does not begin with a digit, nor with ``sqlite_``,
    which SQLite reserves. Raises ValueError for any other.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(
            f"{name!r} cannot be the name of a table: use ASCII letters, digits and underscores, with no digit first"
        )
    if len(name) > _MAX_NAME_CHARS:
        raise ValueError(f"{name[:20]!r}… cannot be the name of a table: it has more than {_MAX_NAME_CHARS} characters")
    if name.lower().startswith("sqlite_"):
        raise ValueError(f'{name!r} cannot be the name of a table: SQLite reserves names that begin with "sqlite_"')
    return f'"{name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNames:
    """The names of the tables. Raises ValueError for invalid or repeated names."""

    chunks_table: str = CHUNKS_TABLE
    status_table: str = STATUS_TABLE
    conversations_table: str = CONVERSATIONS_TABLE
    sessions_table: str = SESSIONS_TABLE
    messages_table: str = MESSAGES_TABLE
    files_table: str = FILES_TABLE
    message_files_table: str = MESSAGE_FILES_TABLE

    def __post_init__(self) -> None:
        names = self.by_default
        for name in names.values():
            quote_identifier(name)
        if len({name.lower() for name in (*names.values(), MIGRATIONS_TABLE)}) <= len(names):
            raise ValueError(f"The names of the tables must differ, and none may be {MIGRATIONS_TABLE}: {names}")

    @property
    def by_default(self) -> dict[str, str]:
        """The names by those that the migrations have in their place."""
        return {str(field.default): getattr(self, field.name) for field in fields(self)}


_DEFAULT_NAMES = TableNames()


def migrations(tables: TableNames = _DEFAULT_NAMES) -> list[Migration]:
    """Return the migrations, in order, for tables of these names."""
    from importlib import resources  # here: it is slow to import, and a Worker's start-up is billed

    found: list[Migration] = []
    for file in resources.files("aibind.sqlite").joinpath("migrations").iterdir():
        if match := _FILE.match(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(_migration(int(match[1]), file.name.removesuffix(".sql"), text, tables.by_default))
    return sorted(found, key=lambda migration: migration.number)


def _migration(number: int, name: str, text: str, names: Mapping[str, str]) -> Migration:
    tables = tuple(names[table] for table in dict.fromkeys(match[1] for match in _QUOTED.finditer(text)))
    # In one pass: a new name may equal another's default.
    sql = _QUOTED.sub(lambda match: f'"{names[match[1]]}{match[2] or ""}"', text)
    parts = (part.strip() for part in _COMMENT.sub("", sql).split(";"))  # no string in our files holds -- or ;
    return Migration(number, name, sql, tuple(part for part in parts if part), tables)


def schema_sql(tables: TableNames = _DEFAULT_NAMES) -> str:
    """Return the whole schema as one SQL script."""
    return "\n".join(step.sql for step in migrations(tables))


async def migrate(client: SqliteClient, tables: TableNames = _DEFAULT_NAMES) -> list[str]:
    """Apply the migrations that the database has not had yet, and return their names.

    Any number of processes may call this at once: each migration is one transaction, which begins by recording it, so
    that it is applied once. Tables may have been created by the JavaScript packages' SQL, or by another tool that
    applied the files: what is there stays. Each set of table names is migrated separately.
    """
    steps = migrations(tables)
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
    """Apply one migration, and return whether this call did; another process may have been faster.

    Columns that are there, since another tool applied the same file, are left as they are.
    """
    record = Statement(
        f'INSERT INTO "{MIGRATIONS_TABLE}" (name, tables, applied_at) VALUES (?, ?, ?)', (step.name, tables, now_ms())
    )
    statements = step.statements
    while True:
        try:
            await client.batch([record, *map(Statement, statements)])
        except SqliteConstraintError:
            found = await client.execute(
                f'SELECT 1 FROM "{MIGRATIONS_TABLE}" WHERE name = ? AND tables = ?',
                (step.name, tables),
            )
            if not found.rows:
                raise
            return False
        except SqliteSyntaxError as error:
            remaining = _without_column_there(statements, str(error))
            if remaining == statements:
                raise
            statements = remaining  # looked for by failing, since asking first would race with the other tool
        else:
            return True


def _without_column_there(statements: tuple[str, ...], error: str) -> tuple[str, ...]:
    """Return the statements without that which failed because its column exists."""
    duplicate = re.search(_DUPLICATE_COLUMN, error)
    if duplicate is None:
        return statements
    return tuple(
        statement
        for statement in statements
        if not ((added := re.match(_ADDED_COLUMN, statement)) and added[1] == duplicate[1])
    )
