"""The tables, made by us or by the JavaScript packages' SQL."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aibind.errors import SqliteConstraintError, SqliteSyntaxError
from aibind.sqlite.client import SqliteResult, SqliteValue, Statement
from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3
from aibind.sqlite.schema import Migration, TableNames, _apply, migrate, migrations, quote_identifier, schema_sql

JAVASCRIPT = """
-- Stream tables (required for SqliteStreamStore)
CREATE TABLE aibind_stream_chunks (
id TEXT NOT NULL,
seq INTEGER NOT NULL,
data TEXT NOT NULL,
PRIMARY KEY (id, seq)
);
CREATE TABLE aibind_stream_status (
id TEXT PRIMARY KEY,
state TEXT NOT NULL DEFAULT 'active',
error TEXT,
total_chunks INTEGER NOT NULL DEFAULT 0,
expires_at INTEGER NOT NULL
);
-- Conversation table (required for SqliteConversationStore)
CREATE TABLE aibind_conversations (
session_id TEXT PRIMARY KEY,
data TEXT NOT NULL,
expires_at INTEGER NOT NULL
);
"""

TABLES = ["aibind_stream_chunks", "aibind_stream_status", "aibind_conversations"]
OUR_TABLES = ["aibind_sessions", "aibind_messages", "aibind_message_files"]
NAMES = [
    "0001_streams",
    "0002_conversations",
    "0003_messages",
    "0004_stream_sessions",
    "0005_files",
    "0006_stream_requests",
    "0007_stream_questions",
    "0008_stream_claims",
]
ADDED_COLUMNS = [
    *("session_id", "owner", "created_at", "request", "question_id"),
    *("takeovers", "reference", "continuation"),
]
MINE = {
    "chunks_table": "my_chunks",
    "status_table": "my_status",
    "conversations_table": "my_chats",
    "sessions_table": "my_sessions",
    "messages_table": "my_messages",
    "files_table": "my_files",
    "message_files_table": "my_message_files",
}


def shape(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """Name, type, NOT NULL, default and place in the key of each column."""
    columns = [row[1:] for row in connection.execute(f"PRAGMA table_info({table})")]
    # SQLite adds NOT NULL to the key of a table WITHOUT ROWID.
    return [(name, kind, bool(required or key), default, key) for name, kind, required, default, key in columns]


def test_the_columns_are_those_of_javascript() -> None:
    ours, theirs = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    ours.executescript(schema_sql())
    theirs.executescript(JAVASCRIPT)
    for table in TABLES:
        columns = shape(ours, table)
        added = [column for column in columns if column[0] in ADDED_COLUMNS] if table == TABLES[1] else []
        assert [column for column in columns if column not in added] == shape(theirs, table)
        # Rows of JavaScript have none of them.
        empty = dict.fromkeys(ADDED_COLUMNS, (False, None, 0)) | {"takeovers": (True, "0", 0)}
        assert {column[0]: column[2:] for column in added} == (empty if table == TABLES[1] else {})
    ours.close()
    theirs.close()


def test_a_chunk_costs_one_row() -> None:
    """No index beside the table, so that D1 bills an insert once."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema_sql())
    roots = dict(connection.execute("SELECT tbl_name, count(*) FROM sqlite_master GROUP BY tbl_name").fetchall())
    # Conversations, messages and files have the index of their key beside them, as large rows are better off with a
    # rowid. Messages are also found by their parent, sessions by their owner, streams by their session, and references
    # by their file.
    in_one = ["aibind_stream_chunks"]
    with_index = [
        "aibind_stream_status",
        "aibind_sessions",
        "aibind_conversations",
        "aibind_files",
        "aibind_message_files",
    ]
    assert roots == {**dict.fromkeys(in_one, 1), **dict.fromkeys(with_index, 2), "aibind_messages": 3}
    for table in [*in_one, "aibind_stream_status", "aibind_sessions", "aibind_message_files"]:
        with pytest.raises(sqlite3.OperationalError, match="no such column"):
            connection.execute(f"SELECT rowid FROM {table}")
    connection.close()


def test_migrations_are_numbered_and_split() -> None:
    found = migrations()
    assert [step.name for step in found] == NAMES
    assert [step.number for step in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [len(step.statements) for step in found] == [2, 1, 4, 4, 3, 1, 1, 3]
    assert found[0].tables == ("aibind_stream_chunks", "aibind_stream_status")
    assert found[1].tables == ("aibind_conversations",)
    assert found[3].tables == ("aibind_stream_status",)
    assert found[5].tables == ("aibind_stream_status",)
    for step in found:
        assert isinstance(step, Migration)
        for statement in step.statements:
            assert statement.startswith(("CREATE TABLE IF NOT EXISTS", "ALTER TABLE", "CREATE INDEX IF NOT EXISTS"))
            assert "--" not in statement
            assert ";" not in statement


def test_the_files_suit_simple_splitters() -> None:
    """Wrangler, and D1's exec, split SQL by simple rules: nothing in a comment may look like a statement's end."""
    for line in schema_sql().splitlines():
        if line.lstrip().startswith("--"):
            assert not set(line) & set(";'\"`")
        else:
            assert "--" not in line
    assert not re.search(r"\b(BEGIN|COMMIT|ROLLBACK|PRAGMA)\b", schema_sql(), re.IGNORECASE)


def test_the_schema_is_applied_once_also_on_javascripts_tables() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(JAVASCRIPT)
    connection.execute("INSERT INTO aibind_conversations VALUES ('s', '{}', 1)")
    connection.execute("INSERT INTO aibind_stream_status (id, expires_at) VALUES ('s', 1)")
    connection.executescript(schema_sql())
    made = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(sqlite3.OperationalError, match="duplicate column name: session_id"):
        connection.executescript(schema_sql())
    assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == made
    assert connection.execute("SELECT * FROM aibind_conversations").fetchall() == [("s", "{}", 1)]
    assert connection.execute("SELECT * FROM aibind_stream_status").fetchall() == [
        ("s", "active", None, 0, 1, None, None, None, None, None, 0, None, None)
    ]
    connection.close()


def test_other_names() -> None:
    sql = schema_sql(TableNames(**MINE))
    assert "aibind" not in re.sub(r"--.*", "", sql)
    connection = sqlite3.connect(":memory:")
    connection.executescript(sql)
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert found == set(MINE.values())
    indexes = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    assert {row[0] for row in indexes} == {
        "my_messages_by_parent",
        "my_sessions_by_owner",
        "my_status_by_session",
        "my_message_files_by_sha256",
    }
    connection.close()


def test_names_may_change_places() -> None:
    connection = sqlite3.connect(":memory:")
    swapped = TableNames(chunks_table="aibind_stream_status", status_table="aibind_stream_chunks")
    connection.executescript(schema_sql(swapped))
    assert [column[0] for column in shape(connection, "aibind_stream_status")] == ["id", "seq", "data"]
    connection.close()


@pytest.mark.parametrize("name", ["a", "_", "A1", "select", "x" * 64, "sqlite", "aibind_stream_chunks"])
def test_good_names(name: str) -> None:
    assert quote_identifier(name) == f'"{name}"'
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE {quote_identifier(name)} (v)")
    connection.close()


BAD_NAMES = [
    "",
    "1a",
    "a b",
    "a-b",
    "a.b",
    'a"b',
    'a"; DROP TABLE users; --',
    "a\n",
    "\na",
    "a\0",
    "é",
    "٣",
    "a１",
    "sqlite_master",
    "SQLite_x",
    "x" * 65,
    None,
    5,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a table"):
        quote_identifier(name)
    for option in MINE:
        with pytest.raises(ValueError, match="cannot be the name of a table"):
            TableNames(**{option: name})


@pytest.mark.parametrize(
    "names",
    [
        {"chunks_table": "same", "status_table": "SAME"},
        {"conversations_table": "aibind_stream_chunks"},
        {"conversations_table": "aibind_migrations"},
    ],
)
def test_names_must_differ(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must differ"):
        TableNames(**names)


async def test_migrate(any_client: SqliteDatabase) -> None:
    assert await migrate(any_client) == NAMES
    assert await migrate(any_client) == []
    rows = (await any_client.execute("SELECT * FROM aibind_migrations ORDER BY name")).rows
    assert [(row["name"], row["tables"]) for row in rows] == [
        ("0001_streams", "aibind_stream_chunks aibind_stream_status"),
        ("0002_conversations", "aibind_conversations"),
        ("0003_messages", "aibind_sessions aibind_messages"),
        ("0004_stream_sessions", "aibind_stream_status"),
        ("0005_files", "aibind_files aibind_message_files"),
        ("0006_stream_requests", "aibind_stream_status"),
        ("0007_stream_questions", "aibind_stream_status"),
        ("0008_stream_claims", "aibind_stream_status"),
    ]
    assert all(isinstance(row["applied_at"], int) and row["applied_at"] > 1_700_000_000_000 for row in rows)


async def test_migrate_tables_of_other_names_as_well(client: SqliteDatabase) -> None:
    await migrate(client)
    assert await migrate(client, TableNames(**MINE)) == NAMES
    assert await migrate(client, TableNames(**MINE)) == []
    assert await migrate(client, TableNames(conversations_table="more_chats")) == ["0002_conversations"]
    for table in (*TABLES, *OUR_TABLES, *MINE.values(), "more_chats"):
        assert (await client.execute(f"SELECT * FROM {table}")).rows == []


async def test_migrate_javascripts_tables(client: SqliteDatabase, outsider: sqlite3.Connection) -> None:
    outsider.executescript(JAVASCRIPT)
    outsider.execute("INSERT INTO aibind_stream_chunks VALUES ('s', 1, 'x')")
    assert await migrate(client) == NAMES
    assert await migrate(client) == []
    assert (await client.execute("SELECT seq FROM aibind_stream_chunks")).rows == [{"seq": 1}]
    assert (await client.execute(f"SELECT {', '.join(ADDED_COLUMNS)} FROM aibind_stream_status")).rows == []


def apply_script(connection: sqlite3.Connection, statements: int) -> None:
    """Apply what a tool that was interrupted, or that is of an older version, had applied."""
    parts = [statement for step in migrations() for statement in step.statements]
    for statement in parts[:statements]:
        connection.execute(statement)
    connection.commit()


@pytest.mark.parametrize("statements", range(2, 18))
async def test_migrate_what_another_tool_has_applied(
    client: SqliteDatabase, outsider: sqlite3.Connection, statements: int
) -> None:
    apply_script(outsider, statements)
    outsider.execute("INSERT INTO aibind_stream_status (id, expires_at) VALUES ('s', 1)")
    outsider.commit()
    assert await migrate(client) == NAMES
    assert await migrate(client) == []
    assert [column[0] for column in shape(outsider, "aibind_stream_status")][5:] == ADDED_COLUMNS
    found = outsider.execute("SELECT name FROM sqlite_master WHERE name LIKE 'aibind_stream_status_by_%'").fetchall()
    assert found == [("aibind_stream_status_by_session",)]
    assert (await client.execute("SELECT id FROM aibind_stream_status")).rows == [{"id": "s"}]


@pytest.mark.parametrize("others", [0, 1, 7])
async def test_migrate_at_once(path: Path, others: int) -> None:
    clients = [wrap_sqlite3(path) for _ in range(others + 1)]
    applied = await asyncio.gather(*(migrate(client) for client in clients for _ in range(3)))
    assert sorted(name for names in applied for name in names) == NAMES
    for client in clients:
        await client.aclose()


@pytest.mark.processes
@pytest.mark.parametrize("there", ["", JAVASCRIPT, schema_sql()], ids=["nothing", "javascript", "the whole schema"])
def test_migrate_in_several_processes_at_once(path: Path, there: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(there)
    connection.close()
    script = (
        "import asyncio, sys\n"
        "from aibind.sqlite.driver import wrap_sqlite3\n"
        "from aibind.sqlite.schema import migrate\n"
        "async def main():\n"
        "    async with wrap_sqlite3(sys.argv[1]) as client:\n"
        "        print(*await migrate(client))\n"
        "asyncio.run(main())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(5)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [err for _, err in outputs] == [""] * 5
    assert sorted(name for out, _ in outputs for name in out.split()) == NAMES
    connection = sqlite3.connect(path)
    assert [column[0] for column in shape(connection, "aibind_stream_status")][5:] == ADDED_COLUMNS
    connection.close()


async def test_a_migration_that_fails_is_not_recorded(client: SqliteDatabase) -> None:
    await migrate(client)
    broken = Migration(3, "0003_broken", "", ("CREATE TABLE half (v)", "CREATE TABLE ("), ("half",))
    with pytest.raises(SqliteSyntaxError):
        await _apply(client, broken, "half")
    assert (await client.execute("SELECT * FROM sqlite_master WHERE name = 'half'")).rows == []
    assert (await client.execute("SELECT * FROM aibind_migrations WHERE name = '0003_broken'")).rows == []
    picky = Migration(4, "0004_picky", "", ("INSERT INTO aibind_stream_chunks VALUES ('s', 1, NULL)",), ("x",))
    with pytest.raises(SqliteConstraintError, match="NOT NULL"):  # a failure of its own, not another process
        await _apply(client, picky, "x")


class Late:
    """A client that lets somebody else go first just before the first migration, or another call."""

    def __init__(
        self, client: SqliteDatabase, others: Callable[[SqliteDatabase], Awaitable[object]], before: int = 2
    ) -> None:
        self.client = client
        self.others = others
        self.before = before
        self.batches = 0

    @property
    def shares_wakeups(self) -> bool:
        return self.client.shares_wakeups

    async def execute(self, sql: str, args: tuple[SqliteValue, ...] = ()) -> SqliteResult:
        return await self.client.execute(sql, args)

    async def batch(self, statements: list[Statement]) -> list[SqliteResult]:
        self.batches += 1
        if self.batches == self.before:
            await self.others(self.client)
        return await self.client.batch(statements)


async def test_somebody_else_is_first(client: SqliteDatabase) -> None:
    async def migrate_all(client: SqliteDatabase) -> None:
        assert await migrate(client) == NAMES

    late = Late(client, migrate_all)
    assert await migrate(late) == []  # type: ignore[arg-type]
    assert late.batches == 1 + len(NAMES)


async def test_another_tool_adds_the_columns_meanwhile(client: SqliteDatabase) -> None:
    async def apply_the_file(client: SqliteDatabase) -> None:
        await client.batch([Statement(sql) for sql in migrations()[3].statements])

    late = Late(client, apply_the_file, before=2 + NAMES.index("0004_stream_sessions"))
    assert await migrate(late) == NAMES  # type: ignore[arg-type]
    assert await migrate(client) == []


async def test_a_duplicate_column_elsewhere_is_an_error(client: SqliteDatabase) -> None:
    await migrate(client)
    twice = Migration(5, "0005_twice", "", ("CREATE TABLE twice (a, owner, owner)",), ("twice",))
    with pytest.raises(SqliteSyntaxError, match="duplicate column name: owner"):
        await _apply(client, twice, "twice")
    assert (await client.execute("SELECT * FROM aibind_migrations WHERE name = '0005_twice'")).rows == []
