"""The statements of the LangGraph checkpoint saver against workerd's own D1; they need no LangGraph."""

from __future__ import annotations

import json

from aibind.cloudflare import wrap_d1
from aibind.integrations.langgraph.checkpoint_sql import CheckpointKey, WriteRow
from aibind.integrations.langgraph.tables import CheckpointTables, key_of

from .bench import Bench, checks_once

check = checks_once

LONG = bytes(range(256)) * 4_000  # 1.02 MB: two rows


async def _tables(bench: Bench) -> CheckpointTables:
    tables = CheckpointTables(wrap_d1(bench.db), "lg_checkpoints", "lg_writes", 5.0)
    await tables.batch(tables.sql.create())
    await tables.batch(tables.sql.create())
    for thread in ("t", "copy"):
        await tables.batch(tables.sql.delete_thread(thread))
    return tables


def _key(number: int, thread: str = "t") -> CheckpointKey:
    return CheckpointKey(thread, "", f"c{number:03}")


async def _fill(tables: CheckpointTables, count: int, last: bytes) -> None:
    for number in range(count):
        parent = None if number == 0 else _key(number - 1).checkpoint_id
        metadata = json.dumps({"run_id": f"run-{number % 3}", "step": number})
        data = last if number == count - 1 else b"\x00\xff" * number
        await tables.batch(tables.sql.put(_key(number), parent, "msgpack", metadata, data))
        writes = [WriteRow(idx, f"ch{idx % 2}", "bytes", b"%d" % idx) for idx in range(33)]
        await tables.batch(tables.sql.put_writes(_key(number), "task", "~path", writes))


@check
async def checkpoints_and_writes_of_any_size_come_back(bench: Bench) -> None:
    tables = await _tables(bench)
    await _fill(tables, 3, LONG)
    found, writes = await tables.batch(tables.sql.get("t", "", None))
    assert key_of(found.rows[0]) == _key(2)
    assert (found.rows[0]["parent_id"], found.rows[0]["size"]) == ("c001", len(LONG))
    assert await tables.checkpoint_data(found.rows[0]) == LONG
    assert [row["idx"] for row in writes.rows] == list(range(33))
    assert [await tables.write_data(row) for row in writes.rows] == [b"%d" % idx for idx in range(33)]
    await tables.batch(tables.sql.put(_key(2), "c001", "msgpack", "{}", b"short"))
    found, _ = await tables.batch(tables.sql.get("t", "", "c002"))
    assert await tables.checkpoint_data(found.rows[0]) == b"short"


@check
async def special_writes_replace_and_others_stay(bench: Bench) -> None:
    tables = await _tables(bench)
    for data in (b"first", b"again"):
        rows = [WriteRow(0, "ch", "bytes", data), WriteRow(-3, "__interrupt__", "bytes", data)]
        await tables.batch(tables.sql.put_writes(_key(0), "task", "", rows))
    await tables.batch(tables.sql.put(_key(0), None, "msgpack", "{}", b""))
    _, writes = await tables.batch(tables.sql.get("t", "", "c000"))
    assert {row["idx"]: await tables.write_data(row) for row in writes.rows} == {0: b"first", -3: b"again"}


@check
async def a_put_is_one_row_written(bench: Bench) -> None:
    tables = await _tables(bench)
    (result,) = await tables.batch(tables.sql.put(_key(0), None, "msgpack", "{}", b"x" * 1000))
    assert result.rows_written == 1
    (result,) = await tables.batch(tables.sql.put_writes(_key(0), "task", "", [WriteRow(0, "a", "bytes", b"x")]))
    assert result.rows_written == 1


@check
async def paths_pages_copies_and_deletions(bench: Bench) -> None:
    tables = await _tables(bench)
    await _fill(tables, 7, b"last")
    path, written = await tables.batch(tables.sql.path(_key(5), ["ch1"], 4))
    assert [row["checkpoint_id"] for row in path.rows] == ["c005", "c004", "c003", "c002"]
    assert len(written.rows) == 4 * 16
    page = (await tables.batch([tables.sql.page({"thread_id": "t"}, {"run_id": "run-0"}, "c006", None, 10)]))[0].rows
    assert [row["checkpoint_id"] for row in page] == ["c003", "c000"]
    assert len((await tables.batch([tables.sql.writes_of(map(key_of, page))]))[0].rows) == 66
    rest = (await tables.batch([tables.sql.page({"thread_id": "t"}, {}, None, _key(1), 10)]))[0].rows
    assert [row["checkpoint_id"] for row in rest] == ["c000"]
    await tables.batch(tables.sql.copy_thread("t", "copy"))
    copied, writes = await tables.batch(tables.sql.get("copy", "", None))
    assert await tables.checkpoint_data(copied.rows[0]) == b"last"
    assert len(writes.rows) == 33
    await tables.batch(tables.sql.prune(_key(6), {"c004"}))
    left = (await tables.batch([tables.sql.page({"thread_id": "t"}, {}, None, None, 10)]))[0].rows
    assert [row["checkpoint_id"] for row in left] == ["c006", "c004"]
    await tables.batch(tables.sql.delete_runs(["run-0", "run-2"]))
    left = (await tables.batch([tables.sql.page({}, {}, None, None, 20)]))[0].rows
    assert [(row["thread_id"], row["checkpoint_id"]) for row in left] == [
        ("copy", "c004"),
        ("t", "c004"),
        ("copy", "c001"),
    ]
