"""The fault-injecting client: what each fault does to a real database, and that a seed repeats it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest

from aibind.errors import OverloadedError, SqliteOverloadedError, SqliteTransientError, TransientError
from aibind.sqlite import SqliteClient, Statement, wrap_sqlite3
from aibind.testing import Fault, Faults, FaultySqliteClient
from testbed.virtual_time import in_virtual_time

INSERT = "INSERT INTO words (word) VALUES (?)"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[SqliteClient]:
    async with wrap_sqlite3(tmp_path / "words.db") as client:
        await client.execute("CREATE TABLE words (word TEXT)")
        yield client


async def words(client: SqliteClient) -> list[object]:
    return [row["word"] for row in (await client.execute("SELECT word FROM words ORDER BY rowid")).rows]


async def outcome(client: SqliteClient, word: str) -> str:
    try:
        await client.execute(INSERT, [word])
    except SqliteOverloadedError:
        return "overloaded"
    except SqliteTransientError as error:
        return "lost" if error.sql == INSERT else "without its statement"
    return "ok"


@pytest.mark.parametrize(
    ("fault", "told", "at_once", "in_the_end"),
    [
        (None, "ok", 1, 1),
        ("before", "lost", 0, 0),
        ("after", "lost", 1, 1),
        ("late", "lost", 0, 1),
        ("delay", "ok", 1, 1),
        ("duplicate", "ok", 1, 2),
        ("drop", "lost", 0, 0),
        ("overload", "overloaded", 0, 0),
    ],
)
async def test_each_fault_has_its_effect(
    fault: Fault | None, told: str, at_once: int, in_the_end: int, client: SqliteClient
) -> None:
    faults = Faults(script=[fault], timeout_s=0.01)
    faulty = FaultySqliteClient(client, faults)
    assert await outcome(faulty, "a") == told
    assert await words(client) == ["a"] * at_once
    await faults.wait_settled()
    assert await words(client) == ["a"] * in_the_end
    assert faults.struck == ({fault: 1} if fault else {})
    assert await outcome(faulty, "next") == "ok"


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_batch_is_struck_as_a_whole(fault: Fault, client: SqliteClient) -> None:
    faults = Faults(script=[fault])
    with pytest.raises(SqliteTransientError):
        await FaultySqliteClient(client, faults).batch([Statement(INSERT, ["a"]), Statement(INSERT, ["b"])])
    assert await words(client) == ([] if fault == "before" else ["a", "b"])
    assert await FaultySqliteClient(client, faults).batch([]) == []
    assert faults.calls == 1


async def test_a_refused_duplicate_is_told_to_nobody(client: SqliteClient) -> None:
    await client.execute("CREATE UNIQUE INDEX one_of_each ON words (word)")
    faults = Faults(script=["duplicate", "late", None])
    faulty = FaultySqliteClient(client, faults)
    assert [await outcome(faulty, word) for word in ("a", "b", "c")] == ["ok", "lost", "ok"]
    await faults.wait_settled()
    assert sorted(map(str, await words(client))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("\n select 'a' AS updated", True),
        ("WITH w (x) AS (SELECT 1) SELECT x FROM w", True),
        ("WITH w (x) AS (SELECT 'c') INSERT INTO words SELECT x FROM w", False),
        ("WITH w (x) AS (SELECT 'c') DELETE FROM words", False),
        ("WITH w (x) AS (SELECT 'c') UPDATE words SET word = 'd'", False),
        ("REPLACE INTO words VALUES ('e')", False),
    ],
)
async def test_a_script_is_for_calls_that_write(sql: str, reads: bool, client: SqliteClient) -> None:
    faults = Faults(script=["before"])
    faulty = FaultySqliteClient(client, faults)
    if reads:
        await faulty.execute(sql)
        await faulty.batch([Statement(sql), Statement(sql)])
    with pytest.raises(SqliteTransientError):
        await faulty.execute(INSERT if reads else sql, ["a"] if reads else [])


async def test_a_call_that_reads_is_neither_late_nor_repeated(client: SqliteClient) -> None:
    read = 0

    async def operation() -> None:
        nonlocal read
        read += 1

    faults = Faults(rate=1, kinds=["duplicate"])
    await faults.call(operation, writes=False)
    late = Faults(rate=1, kinds=["late"])
    with pytest.raises(TransientError):
        await late.call(operation, writes=False)
    await faults.wait_settled()
    await late.wait_settled()
    assert read == 1


async def play(seed: int, **options: Any) -> list[object]:
    """Return how each of 300 calls went, and how long it took in virtual time."""
    faults = Faults(seed, rate=0.5, **options)
    loop = asyncio.get_running_loop()
    seen: list[object] = []

    async def operation() -> float:
        return loop.time()

    for _ in range(300):
        began = loop.time()
        try:
            seen.append(round(await faults.call(operation) - began, 6))
        except TransientError as error:
            seen.append((type(error).__name__, round(loop.time() - began, 6)))
    seen.append(faults.struck)
    await faults.wait_settled()
    return seen


@in_virtual_time
async def test_a_seed_repeats_its_faults() -> None:
    first = await play(7)
    assert await play(7) == first
    assert await play(8) != first
    struck: Any = first[-1]
    assert struck.keys() == {*get_args(Fault)}
    assert 100 < struck.total() < 200


@in_virtual_time
async def test_the_fault_of_a_call_depends_on_its_number_alone() -> None:
    async def operation() -> None:
        pass

    async def faults_of(writing: list[bool]) -> list[bool]:
        faults = Faults(3, rate=0.5, kinds=["before"])
        failed = []
        for writes in writing:
            try:
                await faults.call(operation, writes=writes)
            except TransientError:
                failed.append(True)
            else:
                failed.append(False)
        return failed

    assert await faults_of([True] * 50) == await faults_of([False, True] * 25)


@in_virtual_time
async def test_times_are_bounded_by_the_options() -> None:
    loop = asyncio.get_running_loop()

    async def took(kind: Fault, **options: Any) -> float:
        faults = Faults(1, rate=1, kinds=[kind], **options)
        began = loop.time()

        async def operation() -> None:
            pass

        with suppress(TransientError):
            await faults.call(operation)
        return loop.time() - began

    assert await took("drop", timeout_s=30) == pytest.approx(30)
    assert await took("before", timeout_s=30) == 0
    assert await took("before", latency_s=2) == pytest.approx(2)
    assert 0 < await took("delay", max_delay_s=10) <= 20


async def test_an_overload_says_how_long_to_wait() -> None:
    async def operation() -> None:
        raise AssertionError("it must not be called")

    with pytest.raises(OverloadedError) as raised:
        await Faults(rate=1, kinds=["overload"], retry_after_s=2.5).call(operation)
    assert raised.value.retry_after_s == 2.5
    with pytest.raises(OverloadedError) as raised:
        await Faults(script=["overload"]).call(operation)
    assert raised.value.retry_after_s is None


async def test_an_outage_and_a_pause(client: SqliteClient) -> None:
    faults = Faults()
    faulty = FaultySqliteClient(client, faults)
    faults.down = True
    assert await outcome(faulty, "a") == "lost"
    with pytest.raises(SqliteTransientError):
        await words(faulty)
    faults.down = False
    faults.pause()
    waiting = asyncio.ensure_future(outcome(faulty, "b"))
    await asyncio.sleep(0.02)
    assert (waiting.done(), await words(client), faults.calls) == (False, [], 3)
    faults.resume()
    assert await waiting == "ok"
    assert await words(client) == ["b"]


async def test_a_cancelled_call_takes_effect_late_nevertheless(client: SqliteClient) -> None:
    faults = Faults(script=["late", "duplicate"], max_delay_s=0.01)
    faulty = FaultySqliteClient(client, faults)
    for word in ("a", "b"):
        task = asyncio.ensure_future(outcome(faulty, word))
        await asyncio.sleep(0)
        await asyncio.wait([task])
        task.cancel()
    await faults.wait_settled()
    assert sorted(map(str, await words(client))) == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, "rate is 1.5: give a probability between 0 and 1"),
        ({"rate": -0.1}, "rate is -0.1"),
        ({"max_delay_s": -1}, "max_delay_s is -1: give 0 or more seconds"),
        ({"timeout_s": -1}, "timeout_s is -1"),
        ({"latency_s": -1}, "latency_s is -1"),
        ({"kinds": ["befor"]}, r"'befor'.*choose from before, after"),
        ({"kinds": []}, "choose from before, after"),
        ({"script": [None, "answer"]}, "'answer'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Faults(**options)


async def test_the_wrapped_client_says_whether_it_shares_wakeups(client: SqliteClient) -> None:
    class Worker(FaultySqliteClient):
        shares_wakeups = False

    assert FaultySqliteClient(client, Faults()).shares_wakeups is True
    assert FaultySqliteClient(Worker(client, Faults()), Faults()).shares_wakeups is False
