"""A Durable Object's own SQLite as a SqliteClient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..sqlite import SqliteResult, SqliteRow, SqliteValue, Statement
from . import ffi
from .sql_errors import map_error
from .sql_values import check_parameters, read_integer
from .timers import repair_timers

__all__ = ["DurableObjectClient", "wrap_durable_object"]


def wrap_durable_object(storage: object) -> DurableObjectClient:
    """Return a client of the SQLite of a Durable Object, ``ctx.storage``, raw or as the SDK wraps it.

    Make the client, and one store of each kind over it, in the object's constructor: the requests of the object then
    wake each other through the store. The class must be listed in ``new_sqlite_classes`` of the Wrangler configuration.
    asyncio's timers are repaired in the isolate, so that none that was cancelled keeps the object awake.

    Raises RuntimeError outside a Worker, and TypeError for anything but the storage of an object with SQLite.
    """
    proxy = ffi.unwrap(storage, method="transactionSync", what="wrap_durable_object")
    try:
        sql = proxy.sql
    except Exception as error:
        if ffi.failure_of(error) is None:
            raise
        raise TypeError(
            "This Durable Object has no SQLite: list its class in new_sqlite_classes, in a migration of the Wrangler "
            "configuration"
        ) from error
    repair_timers()
    return DurableObjectClient(proxy, sql)


class DurableObjectClient:
    """A SqliteClient of a Durable Object's SQLite, made by :func:`wrap_durable_object`.

    A call runs at once, without a round trip, and ``batch`` is one transaction. Nothing else runs in the object until
    it returns: after many calls in a row, await a timer, so that other requests have their turn. What was written is
    durable before any response or message leaves the object. Values are those of :class:`D1Client`.
    """

    shares_wakeups = True
    """The requests of one object run together, and may wake each other."""

    def __init__(self, storage: ffi.JsObject, sql: ffi.JsObject) -> None:
        self._storage = storage
        self._sql = sql

    def __repr__(self) -> str:
        return "<DurableObjectClient>"

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows.

        Raises one of the ``Sqlite…`` errors; for values that cannot be stored, before anything runs.
        """
        parameters = check_parameters(sql, args)
        try:
            return self._run(sql, parameters)
        except Exception as error:
            raise _mapped(error, sql) from error

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction and return one result for each; none for an empty batch.

        Raises one of the ``Sqlite…`` errors; all of the statements took effect or none.
        """
        if not statements:
            return []
        prepared = [(statement.sql, check_parameters(statement.sql, statement.args)) for statement in statements]
        results: list[SqliteResult] = []
        failed: list[tuple[Exception, str]] = []

        def run_all() -> None:
            for sql, parameters in prepared:
                try:
                    results.append(self._run(sql, parameters))
                except Exception as error:
                    failed.append((error, sql))
                    raise

        try:
            self._storage.transactionSync(run_all)
        except Exception as error:
            # What JavaScript throws on is no longer the exception that Python raised.
            cause, sql = failed[0] if failed else (error, None)
            raise _mapped(cause, sql) from cause
        return results

    def _run(self, sql: str, parameters: list[str | float | bytes | None]) -> SqliteResult:
        cursor = ffi.call(self._sql, "exec", ffi.to_js_array([sql, *parameters]))
        values = cursor.raw().toArray()  # an open cursor would keep the database from being written
        names: list[str] = ffi.from_js(cursor.columnNames)
        rows = [_row(names, row, values, number) for number, row in enumerate(ffi.from_js(values))]
        return SqliteResult(rows, cursor.rowsRead, cursor.rowsWritten)


def _row(names: list[str], row: list[Any], values: ffi.JsObject, number: int) -> SqliteRow:
    for column, value in enumerate(row):
        if type(value) is dict:  # what JSON makes of an ArrayBuffer, which is a BLOB
            row[column] = values[number][column].to_bytes()
        elif type(value) is int:
            row[column] = read_integer(value)
    return dict(zip(names, cast("list[str | int | float | bytes | None]", row), strict=True))


def _mapped(error: Exception, sql: str | None) -> Exception:
    text = ffi.failure_of(error)
    return error if text is None else map_error(text, sql)
