"""LangGraph's own conformance tests for checkpoint savers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("langgraph.checkpoint.conformance")

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from aibind.integrations.langgraph import SqliteCheckpointSaver
from aibind.sqlite import SqliteClient, wrap_sqlite3


class RemoteClient:
    """A client that does no more than a SqliteClient must, as one of D1 does."""

    shares_wakeups = False

    def __init__(self, client: SqliteClient) -> None:
        self.execute = client.execute
        self.batch = client.batch


@pytest.mark.parametrize("remote", [False, True], ids=["file", "remote"])
async def test_the_saver_passes_every_test_of_langgraph(tmp_path: Path, remote: bool) -> None:
    names = iter(range(100))

    async def make() -> AsyncIterator[SqliteCheckpointSaver]:
        async with wrap_sqlite3(tmp_path / f"{next(names)}.db") as client:
            saver = SqliteCheckpointSaver(RemoteClient(client) if remote else client)
            await saver.setup()
            yield saver

    report = await validate(checkpointer_test(name="SqliteCheckpointSaver")(make))
    failures = [failure for result in report.results.values() for failure in result.failures]
    assert failures == []
    assert {name for name, result in report.results.items() if result.passed} == {found.value for found in Capability}
    assert sum(result.tests_passed for result in report.results.values()) == 81
