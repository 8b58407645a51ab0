"""Several real processes share one file, and some are killed."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from aibind.sqlite.client import Statement
from aibind.sqlite.driver import wrap_sqlite3

pytestmark = pytest.mark.processes

WRITER = """
import asyncio, sys
from aibind.sqlite.client import Statement
from aibind.sqlite.driver import wrap_sqlite3

path, name, streams, chunks = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

async def stream(client, number):
    for seq in range(1, chunks + 1):
        await client.execute("INSERT INTO t VALUES (?, ?, ?)", (f"{name}-{number}", seq, "x" * 50))
        if seq % 3 == 0:
            await client.execute("SELECT max(seq) FROM t WHERE id = ?", (f"{name}-{number}",))

async def main():
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE IF NOT EXISTS t (id TEXT, seq INTEGER, data TEXT, PRIMARY KEY (id, seq))")
        print("ready", flush=True)
        await asyncio.gather(*(stream(client, number) for number in range(streams)))

asyncio.run(main())
print("done", flush=True)
"""

TRANSFERS = """
import asyncio, sys
from aibind.sqlite.client import Statement
from aibind.sqlite.driver import wrap_sqlite3

async def one(client, number):
    step = 0
    while True:
        step += 1
        await client.batch([
            Statement("UPDATE account SET amount = amount - 1 WHERE id = ?", (number % 10,)),
            Statement("INSERT INTO log VALUES (?, ?, zeroblob(2000))", (number, step)),
            Statement("UPDATE account SET amount = amount + 1 WHERE id = ?", ((number + 3) % 10,)),
        ])
        if number == 0:
            print(step, flush=True)

async def main():
    async with wrap_sqlite3(sys.argv[1]) as client:
        await asyncio.gather(*(one(client, number) for number in range(20)))

asyncio.run(main())
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_three_processes_two_hundred_streams_each(path: Path) -> None:
    """Nobody is told that the database is locked, not even those who make it at the same moment."""
    writers = [start(WRITER, path, name, 200, 10) for name in "abc"]
    for writer in writers:
        out, err = writer.communicate(timeout=100)
        assert err == ""
        assert out.split() == ["ready", "done"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT id, count(*), min(seq), max(seq) FROM t GROUP BY id").fetchall()
    assert len(rows) == 600
    assert {row[1:] for row in rows} == {(10, 1, 10)}


async def test_others_follow_what_a_process_writes(path: Path) -> None:
    writer = start(WRITER, path, "a", 5, 40)
    async with wrap_sqlite3(path) as client:
        await client.execute("CREATE TABLE IF NOT EXISTS t (id TEXT, seq INTEGER, data TEXT, PRIMARY KEY (id, seq))")

        async def follow(number: int) -> list[object]:
            seqs: list[object] = []
            while len(seqs) < 40:
                token = client.change_token
                rows = (
                    await client.execute(
                        "SELECT seq FROM t WHERE id = ? AND seq > ? ORDER BY seq", (f"a-{number}", len(seqs))
                    )
                ).rows
                seqs += [row["seq"] for row in rows]
                if not rows:
                    await client.wait_for_change(token, 20)
            return seqs

        for seqs in await asyncio.gather(*(follow(number) for number in range(5)), *(follow(0) for _ in range(20))):
            assert seqs == list(range(1, 41))
    assert writer.communicate(timeout=60) == ("ready\ndone\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_in_mid_transaction(path: Path) -> None:
    """Whatever the moment: the file is intact, and each batch happened as a whole or not at all."""
    chance = random.Random(7)

    async def prepare() -> None:
        async with wrap_sqlite3(path) as client:
            await client.batch(
                [
                    Statement("CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL)"),
                    Statement("CREATE TABLE log (number INTEGER, step INTEGER, blob BLOB, PRIMARY KEY (number, step))"),
                    *(Statement("INSERT INTO account VALUES (?, 100)", (number,)) for number in range(10)),
                ]
            )

    async def check(told: int) -> None:
        async with wrap_sqlite3(path) as client:
            assert (await client.execute("PRAGMA integrity_check")).rows == [{"integrity_check": "ok"}]
            assert (await client.execute("SELECT sum(amount) AS n FROM account")).rows == [{"n": 1000}]
            amounts = {row["id"]: row["amount"] for row in (await client.execute("SELECT * FROM account")).rows}
            expected = dict.fromkeys(range(10), 100)
            steps = await client.execute("SELECT number, count(*) AS n, max(step) AS last FROM log GROUP BY number")
            for row in steps.rows:
                number, done = row["number"], row["n"]
                assert isinstance(number, int)
                assert isinstance(done, int)
                assert row["last"] == done
                expected[number % 10] -= done
                expected[(number + 3) % 10] += done
            assert amounts == expected
            finished = {row["number"]: row["n"] for row in steps.rows}
            assert finished.get(0, 0) >= told  # type: ignore[operator]  # what a caller was told has happened
            await client.batch(
                [Statement("DELETE FROM log"), Statement("UPDATE account SET amount = 100")]
            )  # and the next one can write

    asyncio.run(prepare())
    for _ in range(6):
        writer = start(TRANSFERS, path)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "1\n"
        time.sleep(chance.random() * 0.15)
        writer.send_signal(signal.SIGKILL)
        out, err = writer.communicate(timeout=30)
        assert err == ""
        told = [int(line) for line in out.split("\n")[:-1]]
        asyncio.run(check(told[-1] if told else 1))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_while_holding_the_lock(path: Path) -> None:
    """The lock of a process that is gone is gone with it, and so is what it had not committed."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (v)")
    holder = start(
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('PRAGMA cache_size = 5')\n"
        "c.executemany('INSERT INTO t VALUES (?)', [(bytes(5000),)] * 2000)\n"
        "print('holding', flush=True)\n"
        "time.sleep(100)\n",
        path,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"

    async def main() -> None:
        async with wrap_sqlite3(path) as client:
            call = asyncio.create_task(client.execute("INSERT INTO t VALUES ('kept')"))
            await asyncio.sleep(0.1)
            assert not call.done()
            holder.send_signal(signal.SIGKILL)
            await call
            assert (await client.execute("SELECT v FROM t")).rows == [{"v": "kept"}]
            assert (await client.execute("PRAGMA integrity_check")).rows == [{"integrity_check": "ok"}]

    asyncio.run(main())
    holder.communicate(timeout=30)
