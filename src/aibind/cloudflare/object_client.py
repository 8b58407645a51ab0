"""The SQLite of a Durable Object as a SqliteClient, from a Worker: each call is one remote call of the object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from ..errors import SqliteError, SqliteTransientError
from ..sqlite import SqliteResult, SqliteValue, Statement
from . import ffi
from .attempts import attempt
from .object_statements import read_answer, write_statements
from .sql_errors import is_read

__all__ = ["ObjectSqliteClient"]

_T = TypeVar("_T")


class ObjectSqliteClient:
    """A SqliteClient of the object ``name``, whose class derives from DurableStreamObject.

    ``version`` changes whenever a stream in the object does, as far as an answer has told it.
    """

    shares_wakeups = False
    """A Worker's requests share memory, but what one request resumes in another is cut off."""

    def __init__(self, namespace: object, name: str, *, patience_s: float, what: str) -> None:
        self._namespace = ffi.namespace_of(namespace, what=what)
        self.name = name
        self.version = 0
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return f"<ObjectSqliteClient {self.name!r}>"

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows. Raises one of the ``Sqlite…`` errors."""
        return (await self.batch([Statement(sql, tuple(args))]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction and return one result for each; none for an empty batch.

        Raises one of the ``Sqlite…`` errors; all of the statements took effect or none.
        """
        if not statements:
            return []
        text = write_statements(statements)

        async def send() -> list[SqliteResult]:
            stub = ffi.object_of(self._namespace, self.name)
            results, self.version = read_answer(str(await stub.run_statements(text)))
            return results

        repeatable = all(is_read(statement.sql) for statement in statements)
        return await self._attempt(send, repeatable=repeatable)

    async def wait_for_change(self, version: int, timeout_s: float) -> None:
        """Wait until a stream in the object has changed since it had this version, ``timeout_s`` seconds at most."""

        async def wait() -> None:
            stub = ffi.object_of(self._namespace, self.name)
            self.version = int(await stub.wait_for_change(version, timeout_s))

        await self._attempt(wait, repeatable=True)

    async def _attempt(self, send: Callable[[], Awaitable[_T]], *, repeatable: bool) -> _T:
        return await attempt(
            send, partial(_unreachable, self.name), patience_s=self._patience_s, may_repeat=lambda _: repeatable
        )


def _unreachable(name: str, text: str) -> SqliteError:
    return SqliteTransientError(f"The object {name!r} did not answer: {text}")
