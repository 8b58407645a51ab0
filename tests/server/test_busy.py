"""What becomes of a request while another reply of its session is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import RequestError, SessionBusyError
from aibind.models import ModelEvent, ModelRequest, TextDelta
from aibind.server import Endpoints, HttpResponse, StreamHandler
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, StreamStore
from tests.server.test_once import error_of, post, read
from tests.support.models import until
from tests.support.sources import text_of


class Gates:
    """Says "so " and waits for the gate of its question, then repeats the question; remembers who ran beside whom."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.seen: list[list[str]] = []
        self.running = 0
        self.most = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        said = [str(message["content"]) for message in request.messages]
        self.seen.append(said)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield TextDelta("so ")
            await self.gates.setdefault(said[-1], asyncio.Event()).wait()
            yield TextDelta(said[-1])
        finally:
            self.running -= 1

    def open(self, question: str) -> None:
        self.gates.setdefault(question, asyncio.Event()).set()

    async def has_asked(self, count: int) -> None:
        """Wait until the model was asked so often."""
        await until(lambda: len(self.seen) == count)

    @property
    def asked(self) -> list[str]:
        return [said[-1] for said in self.seen]


class Servers:
    """Two servers on the same stores: with a file, as two processes have them."""

    def __init__(self, model: Gates, stores: list[tuple[StreamStore, ConversationStore]], **options: Any) -> None:
        self.model = model
        self.stores = stores
        self.handlers = [
            StreamHandler(model=model, resumable=True, store=streams, conversations=conversations, **options)
            for streams, conversations in stores
        ]
        self.endpoints = [Endpoints(handler) for handler in self.handlers]

    async def ask(self, at: int, question: str, **fields: Any) -> HttpResponse[Any]:
        key = fields.pop("key", None)
        body = {"prompt": question, "sessionId": "s", **fields}
        return await post(self.endpoints[at % len(self.endpoints)], body, key)

    async def said(self) -> list[str]:
        chat = await self.stores[0][1].load("s")
        assert chat.size == len(chat.messages)  # nothing is beside the path
        return [str(message["content"]) for message in chat.messages]


@asynccontextmanager
async def open_servers(backend: str, folder: Path, **options: Any) -> AsyncIterator[Servers]:
    model = Gates()
    if backend == "memory":
        yield Servers(model, [(MemoryStreamStore(), MemoryConversationStore())], **options)
        return
    async with wrap_sqlite3(folder / "chat.db") as one, wrap_sqlite3(folder / "chat.db") as two:
        await migrate(one)
        stores = [(SqliteStreamStore(client), SqliteMessageStore(client)) for client in (one, two)]
        yield Servers(model, cast("Any", stores), **options)


backends = pytest.mark.parametrize("backend", ["memory", "file"])


@backends
async def test_branch_answers_beside_the_other(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path) as servers:
        replies = [asyncio.create_task(read(await servers.ask(number, f"q{number}"))) for number in range(2)]
        await until(lambda: servers.model.running == 2)
        for number in range(2):
            servers.model.open(f"q{number}")
        await asyncio.gather(*replies)


@backends
async def test_reject_refuses_with_the_id_of_what_runs(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="reject") as servers:
        first = await servers.ask(0, "q1")
        reading = asyncio.create_task(read(first))
        for at in range(2):
            for key in (None, "a key"):
                reply = await servers.ask(at, "q2", key=key and "key")
                assert reply.status == 409
                assert "Another reply of this session is under way" in error_of(reply)
                assert f'"streamId":"{first.headers["X-Stream-Id"]}"'.encode() in reply.body
        assert (await post(servers.endpoints[0], {"prompt": "q3", "sessionId": "another"}, None)).status == 200
        servers.model.open("q1")
        assert text_of(await reading) == "so q1"
        servers.model.open("q2")
        assert text_of(await read(await servers.ask(1, "q2", key="key"))) == "so q2"
        assert await servers.said() == ["q1", "so q1", "q2", "so q2"]
        with pytest.raises(SessionBusyError) as raised:
            await asyncio.gather(*(servers.handlers[0].stream({"prompt": "q", "sessionId": "s"}) for _ in range(2)))
        assert await servers.stores[0][0].live_streams("s") == [raised.value.stream_id]


@backends
async def test_one_of_many_at_once_is_not_rejected(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="reject") as servers:
        for number in range(10):
            question = f"q{number}"
            replies = await asyncio.gather(*(servers.ask(at, question) for at in range(6)))
            assert sorted(reply.status for reply in replies) == [200] + [409] * 5
            servers.model.open(question)
            (answered,) = (reply for reply in replies if reply.status == 200)
            assert text_of(await read(answered)) == f"so {question}"
            assert len(servers.model.seen) == number + 1
        assert await servers.said() == [text for number in range(10) for text in (f"q{number}", f"so q{number}")]


@backends
async def test_queue_answers_in_order(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="queue") as servers:
        questions = [f"q{number}" for number in range(6)]
        replies = []
        for at, question in enumerate(questions):
            replies.append(asyncio.create_task(read(await servers.ask(at, question))))
        for number, question in enumerate(questions):
            await servers.model.has_asked(number + 1)
            assert servers.model.running == 1
            servers.model.open(question)
        for question, messages in zip(questions, await asyncio.gather(*replies), strict=True):
            assert text_of(messages) == f"so {question}"
        assert (servers.model.asked, servers.model.most) == (questions, 1)
        assert await servers.said() == [text for question in questions for text in (question, f"so {question}")]
        assert servers.model.seen[-1] == [*(await servers.said())[:-1]]  # the model saw all that came before


@backends
async def test_a_crowd_in_a_queue_is_answered_one_by_one(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="queue", max_queued=20) as servers:
        questions = [f"q{number}" for number in range(12)]
        for question in questions:
            servers.model.open(question)

        async def ask(at: int, question: str) -> str:
            return text_of(await read(await servers.ask(at, question)))

        texts = await asyncio.gather(*(ask(at, question) for at, question in enumerate(questions)))
        assert texts == [f"so {question}" for question in questions]
        assert servers.model.most == 1
        assert await servers.said() == [text for q in servers.model.asked for text in (q, f"so {q}")]


@backends
async def test_a_queue_is_bounded(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="queue", max_queued=2) as servers:
        replies = [await servers.ask(number, f"q{number}") for number in range(3)]
        for at in range(2):
            refused = await servers.ask(at, "too many")
            assert refused.status == 429
            assert "max_queued" in error_of(refused)
        reading = [asyncio.create_task(read(reply)) for reply in replies]
        for number in range(3):
            servers.model.open(f"q{number}")
        await asyncio.gather(*reading)
        assert [text for text in await servers.said() if text.startswith("q")] == ["q0", "q1", "q2"]


@backends
async def test_what_waits_can_be_stopped_and_repeated(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="queue") as servers:
        first = asyncio.create_task(read(await servers.ask(0, "q1")))
        second, again = await servers.ask(0, "q2", key="second"), await servers.ask(1, "q2", key="second")
        third = asyncio.create_task(read(await servers.ask(0, "q3", key="third")))
        repeated = asyncio.create_task(read(await servers.ask(1, "q3", key="third")))
        await servers.handlers[-1].stop({"id": second.headers["X-Stream-Id"]})
        for reply in (second, again):
            assert [message.event for message in await read(reply)] == ["stream-id", "stopped", "done"]
        servers.model.open("q3")
        servers.model.open("q1")
        await first
        assert text_of(await third) == text_of(await repeated) == "so q3"
        assert servers.model.asked == ["q1", "q3"]
        assert await servers.said() == ["q1", "so q1", "q3", "so q3"]


@backends
async def test_interrupt_stops_what_runs_and_keeps_its_text(backend: str, tmp_path: Path) -> None:
    async with open_servers(backend, tmp_path, on_busy="interrupt") as servers:
        replies = []
        for number in range(3):
            replies.append(asyncio.create_task(read(await servers.ask(number, f"q{number}"))))
            await servers.model.has_asked(number + 1)
            await asyncio.sleep(0.05)  # a reader has its first words
        servers.model.open("q2")
        first, second, third = await asyncio.gather(*replies)
        for stopped in (first, second):
            assert (text_of(stopped), stopped[-2].event) == ("so ", "stopped")
        assert text_of(third) == "so q2"
        await until(lambda: servers.model.running == 0)
        await asyncio.sleep(0.3)  # a save that must not come any more
        assert await servers.said() == ["q0", "so ", "q1", "so ", "q2", "so q2"]


async def test_a_queue_goes_on_after_a_killed_server(tmp_path: Path) -> None:
    async with open_servers("file", tmp_path, on_busy="queue") as servers:
        async with wrap_sqlite3(tmp_path / "chat.db") as killed:
            await SqliteStreamStore(killed, lease_ms=500).create("lost", session_id="s")
        waiting = await servers.ask(0, "q1")
        assert servers.model.seen == []
        servers.model.open("q1")
        assert text_of(await read(waiting)) == "so q1"


async def test_a_queued_request_that_is_wrong_ends_its_stream(tmp_path: Path) -> None:
    async with open_servers("memory", tmp_path, on_busy="queue") as servers:
        assert (await servers.ask(0, "q", edit="nothing")).status == 404  # it need not wait
        first = asyncio.create_task(read(await servers.ask(0, "q1")))
        second = await servers.ask(0, "q2", edit="nothing")
        servers.model.open("q1")
        await first
        messages = await read(second)
        assert (messages[1].event, messages[1].data) == ("error", 'This conversation has no message "nothing"')
        assert await servers.said() == ["q1", "so q1"]


async def test_a_shutdown_ends_what_waits(tmp_path: Path) -> None:
    async with open_servers("memory", tmp_path, on_busy="queue") as servers:
        replies = [await servers.ask(0, f"q{number}") for number in range(2)]
        await servers.handlers[0].aclose()
        for reply in replies:
            assert [message.event for message in (await read(reply))[-2:]] == ["error", "done"]
        assert await servers.said() == ["q0", "so "]


async def test_a_request_may_be_stricter(tmp_path: Path) -> None:
    order = ["branch", "interrupt", "queue", "reject"]
    for place, configured in enumerate(order):
        async with open_servers("memory", tmp_path, on_busy=configured) as servers:
            for asked in order[:place]:
                reply = await servers.ask(0, "q", onBusy=asked)
                assert reply.status == 400
                assert f"onBusy is {asked}" in error_of(reply)
            for asked in order[place:]:
                servers.model.open(asked)
                assert (await read(await servers.ask(0, asked, onBusy=asked)))[-1].event == "done"
            running = asyncio.create_task(read(await servers.ask(0, "q")))
            assert (await servers.ask(0, "refused", onBusy="reject")).status == 409
            servers.model.open("q")
            await running


@pytest.mark.parametrize("asked", ["", "Queue", 1, True, [], {}])
async def test_an_unknown_choice_is_refused(asked: object, tmp_path: Path) -> None:
    async with open_servers("memory", tmp_path) as servers:
        reply = await servers.ask(0, "q", onBusy=asked)
        assert (reply.status, error_of(reply)[:20]) == (400, "onBusy must be one o")


async def test_options_are_checked() -> None:
    for options in ({"on_busy": "wait"}, {"on_busy": None}, {"max_queued": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            StreamHandler(model=Gates(), resumable=True, **cast("Any", options))
    with pytest.raises(ValueError, match="resumable=True"):
        StreamHandler(model=Gates(), on_busy="queue")
    plain = StreamHandler(model=Gates(), conversations=MemoryConversationStore())
    with pytest.raises(RequestError, match="leave out onBusy"):
        await plain.stream({"prompt": "q", "sessionId": "s", "onBusy": "queue"})
