"""Clients over every way the driver can run."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aibind.sqlite.driver import SqliteDatabase, wrap_sqlite3

MODES = ["threads", "inline", "threads-memory", "inline-memory"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def client(path: Path) -> AsyncIterator[SqliteDatabase]:
    """A client on a file, with threads."""
    async with wrap_sqlite3(path) as client:
        yield client


@pytest.fixture(params=MODES)
async def any_client(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[SqliteDatabase]:
    """A client in each mode in turn."""
    where = ":memory:" if request.param.endswith("memory") else path
    async with wrap_sqlite3(where, threads=request.param.startswith("threads")) as client:
        yield client


@pytest.fixture
def outsider(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the same file that is not ours."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection
