"""Graphs that run over the checkpoint saver: they go on elsewhere, and nothing is lost without an error."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph")

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from aibind.errors import SqliteConstraintError, SqliteSchemaError, SqliteTransientError
from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.sqlite import SqliteClient, SqliteResult, SqliteValue, Statement, wrap_sqlite3

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class CountingClient:
    """A client that counts round trips and statements, and can refuse what contains a word."""

    shares_wakeups = False

    def __init__(self, client: SqliteClient) -> None:
        self._client = client
        self.batches: list[list[str]] = []
        self.refused = ""
        self.error: Exception = SqliteConstraintError("refused")

    async def execute(self, sql: str, args: Sequence[SqliteValue] = ()) -> SqliteResult:
        return (await self.batch([Statement(sql, args)]))[0]

    async def batch(self, statements: Sequence[Statement]) -> list[SqliteResult]:
        sqls = [statement.sql for statement in statements]
        self.batches.append(sqls)
        if self.refused and any(self.refused in sql for sql in sqls):
            raise self.error
        return await self._client.batch(statements)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[CountingClient]:
    async with wrap_sqlite3(tmp_path / "graph.db") as database:
        client = CountingClient(database)
        await SqliteCheckpointSaver(client).setup()
        yield client


class Approval(TypedDict):
    steps: Annotated[list[Any], operator.add]


runs: list[str] = []


def approval_graph(saver: Any) -> Any:
    def first(_: Any) -> dict[str, Any]:
        runs.append("first")
        return {"steps": ["first"]}

    def ask(_: Any) -> dict[str, Any]:
        return {"steps": [interrupt({"may": "I?"})]}

    builder: Any = StateGraph(Approval)
    builder.add_node("first", first).add_node("ask", ask)
    builder.add_edge(START, "first").add_edge("first", "ask").add_edge("ask", END)
    return builder.compile(checkpointer=saver)


async def test_an_interrupted_graph_goes_on_over_another_saver(client: CountingClient) -> None:
    runs.clear()
    asked = await approval_graph(SqliteCheckpointSaver(client)).ainvoke({"steps": []}, CONFIG)
    assert [found.value for found in asked["__interrupt__"]] == [{"may": "I?"}]
    done = await approval_graph(SqliteCheckpointSaver(client)).ainvoke(Command(resume="yes"), CONFIG)
    assert (done["steps"], runs) == (["first", "yes"], ["first"])


async def test_a_checkpoint_is_one_statement_and_one_round_trip(client: CountingClient) -> None:
    client.batches.clear()
    await approval_graph(SqliteCheckpointSaver(client)).ainvoke({"steps": []}, CONFIG)
    puts = [batch for batch in client.batches if "INSERT" in batch[0]]
    assert all(len(batch) == 1 for batch in puts)
    assert [len(batch) for batch in client.batches if "SELECT" in batch[0]] == [2]
    rows = (await client.execute("SELECT checkpoint_id FROM aibind_checkpoints")).rows
    assert len(rows) == 3 == sum('"aibind_checkpoints"' in batch[0] for batch in puts)


async def test_many_writes_of_a_task_are_few_statements(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    named: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}}
    client.batches.clear()
    await saver.aput_writes(named, [(f"c{number}", number) for number in range(100)], "task")
    assert [len(batch) for batch in client.batches] == [7]
    rows = (await client.execute("SELECT count(*) AS n FROM aibind_checkpoint_writes")).rows
    assert rows == [{"n": 100}]


@pytest.mark.parametrize("size", [0, 1, 999_990, 1_000_000, 2_000_001, 5_000_001])
async def test_values_longer_than_a_row_are_split(client: CountingClient, size: int) -> None:
    saver = SqliteCheckpointSaver(client)
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    builder: Any = StateGraph(Approval).add_node("big", lambda _: {"steps": [value]})
    builder.add_node("fail", lambda _: 1 / 0).add_edge(START, "big").add_edge(START, "fail")
    with pytest.raises(ZeroDivisionError):
        await builder.compile(checkpointer=saver).ainvoke({"steps": [value]}, CONFIG)
    found = await saver.aget_tuple(CONFIG)
    assert found is not None
    assert found.pending_writes is not None
    assert found.checkpoint["channel_values"]["steps"] == [value]
    assert [written for _, channel, written in found.pending_writes if channel == "steps"] == [[value]]
    longest = (await client.execute("SELECT max(length(data)) AS n FROM aibind_checkpoints")).rows[0]["n"]
    assert isinstance(longest, int)
    assert longest <= 1_000_000
    # Written again and shorter: the parts that are too many are not read.
    await saver.aput(CONFIG, {**found.checkpoint, "channel_values": {"steps": ["short"]}}, found.metadata, {})
    again = await saver.aget_tuple(CONFIG)
    assert again is not None
    assert again.checkpoint["channel_values"]["steps"] == ["short"]


@pytest.mark.parametrize("table", ["aibind_checkpoints", "aibind_checkpoint_writes"])
async def test_what_cannot_be_written_ends_the_run(client: CountingClient, table: str) -> None:
    client.refused = f'INSERT INTO "{table}"'
    with pytest.raises(SqliteConstraintError, match="refused"):
        await approval_graph(SqliteCheckpointSaver(client)).ainvoke({"steps": []}, CONFIG)


async def test_a_transient_error_is_retried_and_then_raised(client: CountingClient) -> None:
    client.refused, client.error = "INSERT", SqliteTransientError("busy")
    with pytest.raises(SqliteTransientError, match="busy"):
        await approval_graph(SqliteCheckpointSaver(client, patience_s=0.2)).ainvoke({"steps": []}, CONFIG)
    assert sum("INSERT" in batch[0] for batch in client.batches) > 1


async def test_missing_tables_are_explained(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "empty.db") as database:
        saver = SqliteCheckpointSaver(database, checkpoints_table="my_states")
        with pytest.raises(SqliteSchemaError, match=r"my_states and aibind_checkpoint_writes are missing.*setup"):
            await saver.aget_tuple(CONFIG)
        await saver.setup()
        await saver.setup()
        assert await saver.aget_tuple(CONFIG) is None
    with pytest.raises(ValueError, match="cannot be the name of a table"):
        SqliteCheckpointSaver(database, writes_table="no; good")


async def test_metadata_that_is_not_json_is_refused(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    checkpoint: Any = {"id": "c", "channel_values": {}}
    for value, error in ((float("nan"), ValueError), (object(), TypeError)):
        metadata: Any = {"score": value}
        with pytest.raises(error):
            await saver.aput(CONFIG, checkpoint, metadata, {})
    assert [found async for found in saver.alist(None)] == []


async def test_configs_that_name_too_little_are_refused(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    with pytest.raises(ValueError, match="names no thread"):
        await saver.aget_tuple({"configurable": {}})
    with pytest.raises(ValueError, match="names no checkpoint_id"):
        await saver.aput_writes(CONFIG, [("a", 1)], "task")
    with pytest.raises(ValueError, match="strategy is 'keep_all'"):
        await saver.aprune(["t"], strategy="keep_all")


async def test_synchronous_methods_name_the_asynchronous_ones(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    calls = {
        "get_tuple": (CONFIG,),
        "list": (None,),
        "put": (CONFIG, {}, {}, {}),
        "put_writes": (CONFIG, [], "task"),
        "delete_thread": ("t",),
        "delete_for_runs": ([],),
        "copy_thread": ("a", "b"),
        "prune": ([],),
    }
    for name, args in calls.items():
        with pytest.raises(NotImplementedError, match=rf"await a{name}\(\) instead of {name}\(\)"):
            getattr(saver, name)(*args)
    with pytest.raises(NotImplementedError, match="await aget_delta_channel_history"):
        saver.get_delta_channel_history(config=CONFIG, channels=[])
    with pytest.raises(NotImplementedError, match="ainvoke"):
        approval_graph(saver).invoke({"steps": []}, CONFIG)


def fold(state: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class Growing(TypedDict):
    items: Annotated[list[Any], DeltaChannel(fold, snapshot_frequency=30)]


def growing_graph(saver: Any) -> Any:
    def fan(_: Growing) -> list[Send]:
        return [Send("one", number) for number in range(4)]

    builder: Any = StateGraph(Growing).add_node("start", lambda _: {"items": ["start"]})
    builder.add_node("one", lambda number: {"items": [number]})
    builder.add_edge(START, "start").add_conditional_edges("start", fan, ["one"]).add_edge("one", END)
    return builder.compile(checkpointer=saver)


async def test_delta_channels_are_read_as_over_langgraphs_own_saver(client: CountingClient) -> None:
    saver, memory = SqliteCheckpointSaver(client), InMemorySaver()
    for turn in range(12):
        ours = await growing_graph(saver).ainvoke({"items": [f"turn {turn}"]}, CONFIG)
        assert ours == await growing_graph(memory).ainvoke({"items": [f"turn {turn}"]}, CONFIG)
    assert len(ours["items"]) == 12 * 6
    histories = [
        [
            (found.values, found.next, found.metadata.get("step"))
            async for found in growing_graph(kind).aget_state_history(CONFIG)
        ]
        for kind in (saver, memory)
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) == 48


async def test_reading_a_delta_channel_takes_few_round_trips(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    for turn in range(9):
        await growing_graph(saver).ainvoke({"items": [f"turn {turn}"]}, CONFIG)
    newest = await saver.aget_tuple(CONFIG)
    assert newest is not None
    channels = ["items", "nothing"]
    by_default = await BaseCheckpointSaver.aget_delta_channel_history(saver, config=newest.config, channels=channels)
    assert len(by_default["items"]["writes"]) == 54
    client.batches.clear()
    assert await saver.aget_delta_channel_history(config=newest.config, channels=channels) == by_default
    assert len(client.batches) == 2
    assert await saver.aget_delta_channel_history(config=CONFIG, channels=channels) == by_default
    nowhere: Any = {"configurable": {"thread_id": "another"}}
    assert await saver.aget_delta_channel_history(config=nowhere, channels=channels) == {
        "items": {"writes": []},
        "nothing": {"writes": []},
    }
    assert await saver.aget_delta_channel_history(config=CONFIG, channels=[]) == {}


async def test_pruning_keeps_what_delta_channels_are_read_from(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    for turn in range(12):
        await growing_graph(saver).ainvoke({"items": [f"turn {turn}"]}, CONFIG)
    before = (await growing_graph(saver).aget_state(CONFIG)).values
    await saver.aprune(["t"])
    kept = [found async for found in saver.alist(CONFIG)]
    assert 1 < len(kept) < 48
    assert (await growing_graph(saver).aget_state(CONFIG)).values == before
    await approval_graph(saver).ainvoke({"steps": []}, {"configurable": {"thread_id": "plain"}})
    await saver.aprune(["plain"])
    assert len([found async for found in saver.alist({"configurable": {"thread_id": "plain"}})]) == 1


async def test_a_list_goes_over_pages(client: CountingClient) -> None:
    saver = SqliteCheckpointSaver(client)
    for turn in range(12):
        await growing_graph(saver).ainvoke({"items": [turn]}, CONFIG)
        await growing_graph(saver).ainvoke({"items": [turn]}, {"configurable": {"thread_id": "other"}})
    everything = [found async for found in saver.alist(None)]
    ids = [found.checkpoint["id"] for found in everything]
    assert len(ids) == 96
    assert ids == sorted(ids, reverse=True)
    client.batches.clear()
    assert [found async for found in saver.alist(None, limit=45)] == everything[:45]
    assert len(client.batches) == 6
    steps = [found async for found in saver.alist(CONFIG, filter={"step": 1, "source": "loop"})]
    assert [found.metadata["step"] for found in steps] == [1]
    odd: dict[str, Any] = {"a'b": None, "parents": {}}
    assert len([found async for found in saver.alist(CONFIG, filter=odd, limit=30)]) == 30
    assert [found async for found in saver.alist(CONFIG, limit=0)] == []
