"""SQLite held against memory by hypothesis: the same operations, by several clients and a process, give the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aibind.errors import StreamError
from aibind.sqlite import SqliteDatabase, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamEnd, StreamStore

_T = TypeVar("_T")

IDS = st.sampled_from(["a", "b", "c'\"", "ü"])
CHUNKS = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), st.just("\0"), st.just("x" * 3000)
    ),
    max_size=4,
)
ENDS = st.sampled_from([StreamEnd("done"), StreamEnd("stopped"), StreamEnd("error", "broke\n")])
CLIENTS = 3


class OtherProcess:
    """A store in a process of its own, which takes one operation a line."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "tests.support.store_process", str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, args, options]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.stdout.close()  # type: ignore[union-attr]
        assert self._process.wait(60) == 0


def outcome(value: object) -> object:
    """Make results and errors of different stores comparable."""
    if isinstance(value, StreamError):
        return [type(value).__name__, getattr(value, "state", None)]
    if isinstance(value, StreamEnd):
        return [value.state, value.error]
    return value


class Stores(RuleBasedStateMachine):
    """Does everything to a memory store and, through one of several clients, to one SQLite file."""

    with_process = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.model = MemoryStreamStore()
        self.clients: list[SqliteDatabase] = []
        self.stores: list[StreamStore] = []
        self.process: OtherProcess | None = None

    @initialize()
    def open(self) -> None:
        path = Path(self.folder.name) / "streams.db"
        for _ in range(CLIENTS):
            client = wrap_sqlite3(path)
            self.clients.append(client)
            self.stores.append(SqliteStreamStore(client))
        self.run(migrate(self.clients[0]))
        if self.with_process:
            self.process = OtherProcess(path)

    def run(self, operation: Coroutine[Any, Any, _T]) -> _T | StreamError:
        try:
            return self.loop.run_until_complete(operation)
        except StreamError as error:
            return error

    def both(self, client: int, method: str, *args: Any, **options: Any) -> None:
        expected = outcome(self.run(getattr(self.model, method)(*args, **options)))
        if client == CLIENTS and self.process is not None:
            plain = [[arg.state, arg.error] if isinstance(arg, StreamEnd) else arg for arg in args]
            assert self.process.call(method, *plain, **options) == expected
        else:
            store = self.stores[client % CLIENTS]
            assert outcome(self.run(getattr(store, method)(*args, **options))) == expected

    @rule(client=st.integers(0, CLIENTS), stream_id=IDS)
    def create(self, client: int, stream_id: str) -> None:
        self.both(client, "create", stream_id)

    @rule(client=st.integers(0, CLIENTS), stream_id=IDS, chunks=CHUNKS, renew=st.booleans())
    def append_many(self, client: int, stream_id: str, chunks: list[str], renew: bool) -> None:
        if chunks:
            self.both(client, "append_many", stream_id, chunks, renew=renew)

    @rule(client=st.integers(0, CLIENTS), stream_id=IDS, chunks=CHUNKS, first_seq=st.integers(1, 6))
    def append_at(self, client: int, stream_id: str, chunks: list[str], first_seq: int) -> None:
        status = self.run(self.model.get_status(stream_id))
        stored = getattr(status, "total_chunks", 0)
        if chunks and first_seq <= stored + 1:  # a producer counts its own chunks: it is behind or right, never ahead
            self.both(client, "append_many", stream_id, chunks, first_seq=first_seq)

    @rule(client=st.integers(0, CLIENTS), stream_id=IDS, end=ENDS, chunks=CHUNKS)
    def finish(self, client: int, stream_id: str, end: StreamEnd, chunks: list[str]) -> None:
        self.both(client, "finish", stream_id, end, chunks=chunks)

    @rule(client=st.integers(0, CLIENTS), stream_id=IDS, method=st.sampled_from(["stop", "complete", "renew"]))
    def simple(self, client: int, stream_id: str, method: str) -> None:
        self.both(client, method, stream_id)

    @rule(client=st.integers(0, CLIENTS))
    def cleanup(self, client: int) -> None:
        self.both(client, "cleanup")

    @invariant()
    def same_everywhere(self) -> None:
        for number, store in enumerate(self.stores):
            stream_id = ["a", "b", "c'\"", "ü"][number]
            expected, got = (self.run(each.read_page(stream_id)) for each in (self.model, store))
            if isinstance(expected, StreamError):
                assert type(got) is type(expected)
                continue
            assert not isinstance(got, StreamError)
            assert got.chunks == expected.chunks
            assert (got.status.state, got.status.error, got.is_last) == (
                expected.status.state,
                expected.status.error,
                expected.is_last,
            )
            statuses = [self.run(each.get_status(stream_id)) for each in (self.model, store)]
            assert getattr(statuses[0], "total_chunks", None) == getattr(statuses[1], "total_chunks", None)

    def teardown(self) -> None:
        if self.process is not None:
            self.process.close()
        for client in self.clients:
            self.run(client.aclose())
        self.loop.close()
        self.folder.cleanup()


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_clients_of_one_process() -> None:
    run_state_machine_as_test(
        Stores, settings=settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=QUIET)
    )


@pytest.mark.processes
def test_clients_of_two_processes() -> None:
    machine = type("StoresOfTwoProcesses", (Stores,), {"with_process": True})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=QUIET)
    )
