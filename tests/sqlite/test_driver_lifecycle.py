"""How a client ends when nobody ends it properly: in processes of their own, with every warning an error."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from aibind.errors import SqliteError
from aibind.sqlite.driver import wrap_sqlite3
from aibind.sqlite.driver.jobs import Job

HEAD = """
import asyncio, gc, os, sys, threading
from aibind.sqlite.driver import wrap_sqlite3
path = sys.argv[1]
"""


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", HEAD + script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.processes
@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("keep", ["client = ", ""])
def test_the_interpreter_ends_without_close(path: Path, keep: str, threads: bool) -> None:
    script = f"""
async def main():
    {"global client" if keep else "pass"}
    client = wrap_sqlite3(path, threads={threads})
    await client.execute("CREATE TABLE t (v)")
    await client.execute("INSERT INTO t VALUES (1)")
    await client.execute("SELECT v FROM t")
    await client.wait_for_change(client.change_token, 0)
asyncio.run(main())
"""
    run(script, path)
    assert count(path) == 1
    assert list(path.parent.iterdir()) == [path]  # it was closed all the same


@pytest.mark.processes
def test_the_interpreter_ends_while_calls_wait(path: Path) -> None:
    """What was called but not awaited is still done, if it can be done soon."""
    script = """
client = wrap_sqlite3(path)
async def main():
    await client.execute("CREATE TABLE t (v)")
    for _ in range(300):
        asyncio.ensure_future(client.execute("INSERT INTO t VALUES (1)"))
    await asyncio.sleep(0)
asyncio.run(main())
"""
    run(script, path)
    assert count(path) == 300


@pytest.mark.processes
def test_the_interpreter_ends_while_the_database_is_locked(path: Path) -> None:
    outsider = sqlite3.connect(path, isolation_level=None)
    outsider.execute("PRAGMA journal_mode = WAL")
    outsider.execute("CREATE TABLE t (v)")
    outsider.execute("BEGIN IMMEDIATE")
    script = """
from aibind.sqlite.driver import threads
threads._EXIT_PATIENCE_S = 0.3
client = wrap_sqlite3(path)
async def main():
    asyncio.ensure_future(client.execute("INSERT INTO t VALUES (1)"))
    await asyncio.sleep(0.05)
asyncio.run(main())
"""
    run(script, path)
    outsider.execute("ROLLBACK")
    outsider.close()
    assert count(path) == 0


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_makes_its_own(path: Path) -> None:
    script = """
unused = wrap_sqlite3(path)
used = wrap_sqlite3(path)
asyncio.run(used.execute("CREATE TABLE t (v)"))
child = os.fork()
if not child:
    asyncio.run(unused.execute("INSERT INTO t VALUES (1)"))
    try:
        asyncio.run(used.execute("SELECT 1"))
    except Exception as error:
        print(type(error).__name__, error)
    asyncio.run(used.aclose())
    asyncio.run(unused.aclose())
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(used.execute("INSERT INTO t VALUES (2)"))
asyncio.run(used.aclose())
"""
    head = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"  # 3.12 warns of threads and fork
    done = run(head + script, path)
    assert "SqliteError" in done.stdout
    assert "forked" in done.stdout
    assert count(path) == 2


@pytest.mark.parametrize("threads", [True, False])
async def test_a_dropped_client_is_shut_down(path: Path, threads: bool) -> None:
    client = wrap_sqlite3(path, threads=threads)
    await client.execute("CREATE TABLE t (v)")
    await client.execute("SELECT * FROM t")
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    while list(path.parent.iterdir()) != [path]:
        await asyncio.sleep(0.005)
    while any(thread.name.startswith("aibind-sqlite") for thread in threading.enumerate()):
        await asyncio.sleep(0.005)


async def test_results_are_not_kept(path: Path) -> None:
    """The threads forget a call once it is answered, however long the next one takes to come."""
    async with wrap_sqlite3(path, readers=1) as client:
        await client.execute("CREATE TABLE t (v)")
        for sql in ("SELECT zeroblob(1000) AS v", "INSERT INTO t VALUES (zeroblob(1000)) RETURNING v"):
            await client.execute(sql)
            while any(isinstance(found, Job) for found in gc.get_objects()):
                await asyncio.sleep(0.001)
                gc.collect()


def test_no_threads_left_after_close(path: Path) -> None:
    async def main() -> None:
        async with wrap_sqlite3(path) as client:
            await client.execute("CREATE TABLE t (v)")
            await asyncio.gather(*(client.execute("SELECT * FROM t") for _ in range(50)))
            names = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("aibind"))
            assert 2 <= len(names) <= 5
            assert names[0] == "aibind-sqlite-reader-1"
            assert names[-1] == "aibind-sqlite-writer"

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name.startswith("aibind"):
            thread.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("aibind")]


async def test_without_threads_it_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")  # as Pyodide does, and a full machine

    monkeypatch.setattr(threading.Thread, "start", refuse)
    client = wrap_sqlite3(path)
    with pytest.raises(SqliteError, match="threads=False"):
        await client.execute("SELECT 1")
    await client.aclose()


async def test_in_pyodide_there_are_no_threads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "emscripten")
    before = threading.active_count()
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE t (v)")
        await client.execute("INSERT INTO t VALUES (1)")
        assert (await client.execute("SELECT v FROM t")).rows == [{"v": 1}]
        assert (await client.execute("PRAGMA journal_mode")).rows == [{"journal_mode": "delete"}]
        assert threading.active_count() == before
