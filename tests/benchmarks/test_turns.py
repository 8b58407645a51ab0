"""The costs of a turn: the same at any length in D1, and counted correctly on a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.support.isolates import open_isolates, turn_in_isolate
from benchmarks.support.sizes import bytes_of
from benchmarks.support.sqlite_meter import Meter, metered
from testbed.workerd.rig import Rig

SEEN = 10


@pytest.fixture(scope="module")
def isolates() -> Iterator[Rig]:
    with open_isolates(lambda _: None) as rig:
        yield rig


@pytest.mark.timeout(300)  # Python starts in an isolate
def test_a_turn_in_d1_costs_the_same_at_any_length(isolates: Rig) -> None:
    short = turn_in_isolate(isolates, 10, SEEN)
    assert turn_in_isolate(isolates, 10_000, SEEN) == short
    assert short["statements"] == 7
    assert short["rows_written"] <= 8  # a message, the session and an entry of an index each, for question and answer
    assert short["round_trips"] == 3


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[tuple[Meter, sqlite3.Connection]]:
    with metered() as meter, closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
        meter.statements = meter.bytes = 0
        yield meter, connection


def test_statements_rows_and_bytes_are_counted(meter: tuple[Meter, sqlite3.Connection]) -> None:
    counts, connection = meter
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO notes (text) VALUES (?)", [("a",), ("bé",)])
    connection.execute("COMMIT")
    assert counts.figures() == {
        "statements": 2,
        "rows_read": 0,
        "rows_written": 2,
        "bytes": 2 * len("INSERT INTO notes (text) VALUES (?)") + 4,
        "bytes_returned": 0,
    }
    assert connection.execute("UPDATE notes SET text = text WHERE id = 2 RETURNING id, text").fetchall() == [(2, "bé")]
    assert (counts.rows_read, counts.rows_written, counts.bytes_returned) == (1, 3, 11)


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall", "iterate"])
def test_a_row_counts_once_however_it_is_fetched(meter: tuple[Meter, sqlite3.Connection], fetch: str) -> None:
    counts, connection = meter
    cursor = connection.execute("VALUES ('one')")
    rows = list(cursor) if fetch == "iterate" else getattr(cursor, fetch)()
    assert rows in ([("one",)], ("one",))
    assert (counts.rows_read, counts.bytes_returned) == (1, 3)


def test_connections_are_counted_while_they_are_metered_alone(tmp_path: Path) -> None:
    with metered() as meter:
        pass
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE notes (text)")
    assert meter.statements == 0


def test_writes_of_closed_connections_stay_counted(tmp_path: Path) -> None:
    with metered() as meter:
        for text in ("a", "b"):
            with closing(sqlite3.connect(tmp_path / "notes.db")) as connection, connection:
                connection.execute("CREATE TABLE IF NOT EXISTS notes (text)")
                connection.execute("INSERT INTO notes VALUES (?)", (text,))
        assert meter.rows_written == 2


def test_sizes_of_values() -> None:
    assert bytes_of(("é", b"ab", 7, 0.5, None, "\ud800")) == 2 + 2 + 8 + 8 + 0 + 3
