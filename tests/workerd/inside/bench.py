"""The bindings and tables that a check inside the Worker runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aibind.cloudflare import wrap_d1, wrap_durable_object
from aibind.sqlite.client import SqliteClient, Statement
from aibind.sqlite.schema import migrate
from aibind.testing.checks import CheckList
from testbed.javascript import JAVASCRIPT_TABLES, javascript_sql

OUR_TABLES = ("aibind_stream_chunks", "aibind_stream_status", "aibind_conversations")

MESSAGE_TABLES = ("aibind_sessions", "aibind_messages", "aibind_files", "aibind_message_files")

KINDS = ("raw", "sdk", "javascript")
"""Bindings as Cloudflare gives them; as the SDK wraps them; raw, over the tables of the JavaScript packages."""

OBJECT_KINDS = ("object raw", "object sdk")
"""The storage of a Durable Object, as Cloudflare gives it and as the SDK wraps it."""


@dataclass(slots=True)
class Bench:
    """The bindings of one kind.

    ``sdk`` and ``raw`` are the Worker's env, wrapped and not; ``storage`` is that of the object that the check runs in.
    """

    kind: str
    sdk: Any
    raw: Any
    storage: Any = None

    @property
    def env(self) -> Any:
        return self.sdk if self.kind == "sdk" else self.raw

    def client(self) -> SqliteClient:
        """Return a new client of the database: the object's own where the check runs in one, else D1."""
        return wrap_d1(self.db) if self.storage is None else wrap_durable_object(self.storage)

    @property
    def db(self) -> Any:
        """Workerd's D1 binding itself."""
        return self.env.NATIVE_DB

    @property
    def metered(self) -> Any:
        """The binding that counts."""
        return self.env.DB

    @property
    def kv(self) -> Any:
        return self.env.KV

    @property
    def tables(self) -> dict[str, str]:
        """The options of a stream store."""
        chunks, status, _ = JAVASCRIPT_TABLES if self.kind == "javascript" else OUR_TABLES
        return {"chunks_table": chunks, "status_table": status}

    @property
    def conversations(self) -> str:
        return (JAVASCRIPT_TABLES if self.kind == "javascript" else OUR_TABLES)[2]

    async def empty(self) -> None:
        """Make the tables, unless they are there, and remove all rows, all other tables and all keys."""
        in_object = self.storage is not None
        if not in_object:
            for key in (await self.raw.KV.list()).to_py()["keys"]:  # a thousand at most, more than a check writes
                await self.raw.KV.delete(key["name"])
        client = self.client() if in_object else wrap_d1(self.raw.NATIVE_DB)
        found = await client.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'"
        )
        # The tables behind a virtual table go with it.
        names = {name for row in found.rows if "_search_fts_" not in (name := str(row["name"]))}
        if OUR_TABLES[0] not in names:
            await migrate(client)
        emptied = [*OUR_TABLES, *MESSAGE_TABLES]
        if not in_object:
            emptied += JAVASCRIPT_TABLES
            if JAVASCRIPT_TABLES[0] not in names:
                await client.batch([Statement(sql) for sql in javascript_sql(*JAVASCRIPT_TABLES)])
        known = {*emptied, "aibind_migrations"}
        await client.batch(
            [Statement(f'DELETE FROM "{name}"') for name in emptied]
            + [Statement(f'DROP TABLE "{name}"') for name in names - known if not name.startswith("sqlite_")]
        )


checks_of_each_engine: CheckList[Bench] = CheckList()
"""Run for each kind of D1 binding, and of an object's storage."""

checks_in_object: CheckList[Bench] = CheckList()
"""Run for each kind of storage, in a Durable Object."""

checks_of_each_kind: CheckList[Bench] = CheckList()
"""Run for each kind of D1 binding."""

checks_once: CheckList[Bench] = CheckList()
"""Run once for each Python."""
