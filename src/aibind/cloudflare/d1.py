"""D1 as a SqliteClient."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from ..errors import SqliteError
from ..sqlite import SqliteResult, SqliteRow, SqliteValue, Statement
from . import ffi
from .attempts import attempt
from .sql_errors import did_not_run, is_read, map_error
from .sql_values import check_parameters, read_integer
from .timers import repair_timers

__all__ = ["D1Client", "wrap_d1"]

_T = TypeVar("_T")


def wrap_d1(binding: object, *, patience_s: float = 5.0) -> D1Client:
    """Return a client of a D1 binding, ``env.DB``, or of a session of one, ``env.DB.withSession(…)``.

    The binding may be raw or as the SDK wraps it. A client costs nothing to make and holds nothing: make one, and the
    stores over it, for each request. ``patience_s`` is how long, in seconds, to retry what fails for a moment and is
    safe to repeat: reads, and whatever D1 turned away before it ran. asyncio's timers are repaired in the isolate: see
    the page on Workers.

    Raises RuntimeError outside a Worker, and TypeError for anything but a D1 binding.
    """
    database = ffi.unwrap(binding, method="prepare", what="wrap_d1")
    repair_timers()
    return D1Client(database, patience_s)


class D1Client:
    """A SqliteClient of D1, made by :func:`wrap_d1`.

    Each call is one round trip; ``batch`` is one transaction. Values are those of :data:`~aibind.sqlite.SqliteValue`,
    within the limits of JavaScript, which they cross:

    - Integers must lie between -(2**53 - 1) and 2**53 - 1. D1 receives every number as a REAL, so in a column of type
      TEXT the integer 1 becomes the text ``1.0``: give such a column a string. A larger number in a result is a float;
      ``CAST(column AS TEXT)`` gives its digits.
    - Floats must be finite. One that is whole comes back as an int, an infinity in a result as None.
    - Strings must not hold lone surrogates.
    - Of two columns with the same name, a result has the last.
    """

    shares_wakeups = False
    """A Worker's requests share memory, but what one request resumes in another is cut off."""

    def __init__(self, database: ffi.JsObject, patience_s: float) -> None:
        self._database = database
        self._patience_s = patience_s

    def __repr__(self) -> str:
        kind = "database" if hasattr(self._database, "withSession") else "session"
        return f"<D1Client {kind} patience_s={self._patience_s:g}>"

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        """Run one statement and return its rows.

        Raises one of the ``Sqlite…`` errors; for values that cannot be stored, before D1 is called.
        """
        parameters = check_parameters(sql, args)

        async def send() -> SqliteResult:
            return _result(ffi.from_js(await ffi.settle(self._prepare(sql, parameters), "all")))

        return await self._attempt(send, sql, repeatable=is_read(sql))

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        """Run several statements in one transaction and return one result for each; none for an empty batch.

        Raises one of the ``Sqlite…`` errors; all of the statements took effect or none.
        """
        if not statements:
            return []
        prepared = [(statement.sql, check_parameters(statement.sql, statement.args)) for statement in statements]

        async def send() -> list[SqliteResult]:
            batch = ffi.to_js_array([])
            for sql, parameters in prepared:
                batch.push(self._prepare(sql, parameters))
            answers: list[Any] = ffi.from_js(await ffi.settle(self._database, "batch", batch)) or []
            if len(answers) != len(prepared):
                raise SqliteError(f"D1 gave {len(answers)} results for a batch of {len(prepared)}")
            return [_result(answer) for answer in answers]

        repeatable = all(is_read(sql) for sql, _ in prepared)
        return await self._attempt(send, prepared[0][0] if len(prepared) == 1 else None, repeatable=repeatable)

    def with_session(self, start: str = "first-unconstrained") -> D1Client:
        """Return a client of a new session, whose reads may come from a nearby replica.

        A session sees everything that it has written or read. ``start`` is ``first-unconstrained``, ``first-primary``
        (begin with the newest state) or the bookmark of an earlier session. Raises TypeError when this client already
        is one of a session.
        """
        if not hasattr(self._database, "withSession"):
            raise TypeError("This client is a session already: begin another one with the client of env.DB")
        return D1Client(self._database.withSession(start), self._patience_s)

    @property
    def bookmark(self) -> str | None:
        """The state that this session has seen, for a later session to begin with; None outside a session."""
        read = getattr(self._database, "getBookmark", None)
        bookmark = read() if read is not None else None
        return None if ffi.is_nothing(bookmark) else str(bookmark)

    def _prepare(self, sql: str, parameters: list[str | float | bytes | None]) -> ffi.JsObject:
        statement = self._database.prepare(sql)
        return ffi.call(statement, "bind", ffi.to_js_array(parameters)) if parameters else statement

    async def _attempt(self, send: Callable[[], Awaitable[_T]], sql: str | None, *, repeatable: bool) -> _T:
        return await attempt(
            send,
            partial(map_error, sql=sql),
            patience_s=self._patience_s,
            may_repeat=lambda error: repeatable or did_not_run(str(error)),
        )


def _result(answer: Any) -> SqliteResult:
    if not isinstance(answer, dict):
        raise SqliteError(f"D1 gave {type(answer).__name__} instead of a result")
    found = cast("dict[str, Any]", answer)
    if found.get("success") is False:
        raise map_error(str(found.get("error")))
    meta: dict[str, int | None] = found.get("meta") or {}
    rows: list[dict[str, Any]] = found.get("results") or []
    return SqliteResult([_row(row) for row in rows], meta.get("rows_read") or 0, meta.get("rows_written") or 0)


def _row(row: dict[str, Any]) -> SqliteRow:
    for name, value in row.items():
        if type(value) is list:  # how D1 gives a BLOB
            row[name] = bytes(cast("list[int]", value))
        elif type(value) is int:
            row[name] = read_integer(value)
    return row
