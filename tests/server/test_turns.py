"""All of a turn is kept, round by round, and the next request is made from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import ModelError, RequestError
from aibind.history import ChatHistory
from aibind.models import Finish, OpenAIModel, ReasoningDelta, TextDelta, ToolCall, Usage
from aibind.server import HttpResponse, StreamHandler, Tool
from aibind.server.answers import Answer
from aibind.server.context import context_of
from aibind.server.prompts import transcript
from aibind.server.recovery import read_reply
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, SseMessage, SseParser, StreamEnd, StreamEvent, StreamStore
from aibind.testing import Fault, Faults, FaultySqliteClient
from tests.support.endpoint import Endpoint, Exchange, Reply, delta, texts, usage
from tests.support.models import PATIENCE_S, ScriptedModel, until
from tests.support.tools import (
    TOOLSETS,
    call_round,
    check_request,
    look,
    round_messages,
    sent,
    since_question,
    tool_turn,
)

QUESTION = {"role": "user", "content": "What is there?"}
BODY = {"prompt": "What is there?", "sessionId": "s", "toolset": "eyes", "maxSteps": 3}
END = {"role": "assistant", "content": "That is all."}
TURN = [QUESTION, *round_messages(1), *round_messages(2), END]

backends = pytest.mark.parametrize("backend", ["memory", "json", "rows"])
both_ways = pytest.mark.parametrize("resumable", [False, True], ids=["plain", "resumable"])


@asynccontextmanager
async def open_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, ConversationStore]]:
    if backend == "memory":
        yield MemoryStreamStore(lease_ms=200), MemoryConversationStore()
        return
    async with wrap_sqlite3(folder / "chat.db") as client:
        await migrate(client)
        kind = SqliteConversationStore if backend == "json" else SqliteMessageStore
        yield SqliteStreamStore(client, lease_ms=200), kind(client)


@asynccontextmanager
async def open_model(*script: Any) -> AsyncIterator[tuple[Endpoint, OpenAIModel]]:
    async with (
        Endpoint(*(script or (tool_turn,))) as endpoint,
        OpenAIModel("m", base_url=endpoint.base_url, max_retries=0) as model,
    ):
        yield endpoint, model


def make_handler(
    model: Any, streams: StreamStore, conversations: ConversationStore, *, resumable: bool = True, **options: Any
) -> StreamHandler:
    if resumable:
        options |= {"resumable": True, "store": streams}
    return StreamHandler(model=model, conversations=conversations, toolsets=TOOLSETS, **options)


async def messages_of(reply: HttpResponse[Any]) -> list[SseMessage]:
    parser = SseParser()
    return [message async for data in reply.body for message in parser.feed(data)]


async def run(handler: StreamHandler, body: dict[str, Any], endpoint: str = "stream") -> list[SseMessage]:
    return await messages_of(await getattr(handler, endpoint)(body))


def text_of(messages: list[SseMessage]) -> str:
    return "".join(message.data for message in messages if not message.event)


def said(chat: ChatHistory) -> str:
    return "".join(message["content"] for message in chat.messages if message["role"] == "assistant")


def metadata_of(chat: ChatHistory) -> list[dict[str, Any]]:
    nodes = [chat.tree.get(node_id) for node_id in chat.node_ids]
    return [node.metadata for node in nodes if node is not None]


# --- kept ---


@backends
@both_ways
async def test_all_of_a_turn_is_kept_and_told(backend: str, resumable: bool, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model() as (endpoint, model):
        handler = make_handler(model, streams, conversations, resumable=resumable)
        reply = await handler.stream(BODY)
        delivered = await messages_of(reply)
        chat = await conversations.load("s")
        assert chat.messages == TURN
        assert said(chat) == text_of(delivered)
        mark = {"streamId": reply.headers["X-Stream-Id"]} if resumable else {}
        *others, last = metadata_of(chat)
        assert others == [mark] * (len(TURN) - 1)
        assert last == {**mark, "finishReason": "stop", "usage": {"inputTokens": 30, "outputTokens": 6}}
        assert chat.tree.active_leaf_id == chat.node_ids[-1]

        await run(handler, {"prompt": "And now?", "sessionId": "s"})
        request = endpoint.exchanges[3].body["messages"]
        assert request == sent([*TURN, {"role": "user", "content": "And now?"}])
        check_request(request)


@backends
async def test_the_stream_holds_what_the_conversation_does(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model() as (_, model):
        reply = await make_handler(model, streams, conversations).stream(BODY)
        delivered = await messages_of(reply)
        stored = await read_reply(streams, reply.headers["X-Stream-Id"])
        answer = Answer(stored.events)
        assert answer.messages() == TURN[1:]
        assert answer.text == text_of(delivered) == said(await conversations.load("s"))


@backends
@both_ways
async def test_a_round_is_stored_when_it_ends(backend: str, resumable: bool, tmp_path: Path) -> None:
    last = Reply(texts("never", "to end"), stall_after=2)
    script = partial(tool_turn, last=last)
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model(script) as (_, model):
        handler = make_handler(model, streams, conversations, resumable=resumable)
        reply = await handler.stream(BODY)
        body: Any = reply.body
        parser, seen = SseParser(), ""
        while "never" not in seen:
            seen += text_of(parser.feed(await anext(body)))
        while len((await conversations.load("s")).messages) < 6:
            await asyncio.sleep(0.01)
        assert (await conversations.load("s")).messages == TURN[:-1]
        if resumable:
            await handler.stop({"id": reply.headers["X-Stream-Id"]})
        await body.aclose()
        chat = await conversations.load("s")
        assert chat.messages == [*TURN[:-1], {"role": "assistant", "content": "never"}]
        assert metadata_of(chat)[-1]["finish"] == "stopped"


@backends
async def test_a_stop_in_round_two_keeps_round_one_and_the_text_so_far(backend: str, tmp_path: Path) -> None:
    second = Reply(call_round(2), stall_after=4)  # before its call
    async with (
        open_stores(backend, tmp_path) as (streams, conversations),
        open_model(Reply(call_round(1)), second, Reply(texts("ok"))) as (endpoint, model),
    ):
        handler = make_handler(model, streams, conversations)
        reply = await handler.stream(BODY)
        reading = asyncio.ensure_future(messages_of(reply))
        await until(lambda: len(endpoint.exchanges) == 2 and endpoint.exchanges[1].sent == 4)
        await asyncio.sleep(0.2)
        await handler.stop({"id": reply.headers["X-Stream-Id"]})
        delivered = await reading
        chat = await conversations.load("s")
        part = {"role": "assistant", "content": "round 2, looking. ", "reasoning": "thought 2 and on"}
        assert chat.messages == [QUESTION, *round_messages(1), part]
        assert metadata_of(chat)[-1] == {"streamId": reply.headers["X-Stream-Id"], "finish": "stopped"}
        stored = Answer((await read_reply(streams, reply.headers["X-Stream-Id"])).events)
        assert text_of(delivered) == said(chat) == stored.text == "round 1, looking. round 2, looking. "
        await run(handler, {"prompt": "on", "sessionId": "s"})
        check_request(endpoint.exchanges[-1].body["messages"])


@both_ways
async def test_a_model_that_fails_in_round_two_leaves_an_end_and_what_it_cost(resumable: bool) -> None:
    conversations = MemoryConversationStore()
    failing = Reply([delta("content_filter"), usage(5, 5)])
    async with open_model(Reply(call_round(1)), failing) as (_, model):
        handler = make_handler(model, MemoryStreamStore(), conversations, resumable=resumable)
        delivered = await run(handler, BODY)
    names = [message.event for message in delivered][-4:]
    assert names == ["finish", "usage", "error", "done"]
    chat = await conversations.load("s")
    assert chat.messages == [QUESTION, *round_messages(1), {"role": "assistant", "content": ""}]
    ending = {"finish": "error", "finishReason": "content_filter", "usage": {"inputTokens": 15, "outputTokens": 6}}
    assert metadata_of(chat)[-1].items() >= ending.items()
    assert context_of([*chat.messages, QUESTION]) == [QUESTION, *round_messages(1), QUESTION]


async def test_a_reason_other_than_stop_is_on_the_wire() -> None:
    conversations = MemoryConversationStore()
    async with open_model(Reply(texts("as far as", finish="length"))) as (_, model):
        delivered = await run(make_handler(model, MemoryStreamStore(), conversations), BODY)
    assert [(message.event, message.data) for message in delivered][-2:] == [("finish", "length"), ("done", "")]
    assert metadata_of(await conversations.load("s"))[-1]["finishReason"] == "length"


@pytest.mark.parametrize("body", [{"maxSteps": 1}, {"toolset": None, "maxSteps": 1}], ids=["last", "no toolset"])
async def test_calls_that_are_left_to_the_client_are_kept_and_the_next_request_is_whole(body: dict[str, Any]) -> None:
    conversations = MemoryConversationStore()
    async with open_model(Reply(call_round(2, calls=2)), Reply(texts("ok"))) as (endpoint, model):
        handler = make_handler(model, MemoryStreamStore(), conversations)
        await run(handler, {**BODY, **body})
        kept = round_messages(2)[0]
        chat = await conversations.load("s")
        assert chat.messages == [QUESTION, kept]
        assert metadata_of(chat)[-1]["finishReason"] == "tool_calls"
        assert (await handler.recover("s")).chat.messages == [QUESTION, kept]
        await run(handler, {"prompt": "on", "sessionId": "s"})
        request = endpoint.exchanges[1].body["messages"]
        check_request(request)
        assert [message["role"] for message in request] == ["user", "assistant", "tool", "tool", "user"]
        assert "not known" in request[2]["content"]


async def test_arguments_that_are_no_json_do_not_spoil_the_conversation() -> None:
    conversations = MemoryConversationStore()
    broken = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"at": '}}
    script = Reply([delta(tool_calls=[broken]), delta("tool_calls")]), Reply(texts("oh"))
    async with open_model(*script) as (endpoint, model):
        handler = make_handler(model, MemoryStreamStore(), conversations)
        await run(handler, BODY)
        await run(handler, {"prompt": "on", "sessionId": "s"})
    for exchange in endpoint.exchanges[1:]:
        check_request(exchange.body["messages"])
        arguments = exchange.body["messages"][1]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments) == {"invalid_arguments": '{"at": '}


async def test_a_structured_answer_may_call_tools() -> None:
    conversations = MemoryConversationStore()
    streams = MemoryStreamStore()
    async with open_model(Reply(call_round(1)), Reply(texts('{"a": ', "[1, 2]}"))) as (endpoint, model):
        handler = make_handler(model, streams, conversations)
        reply = await handler.structured(BODY)
        delivered = await messages_of(reply)
    assert endpoint.exchanges[0].body["tools"]
    assert endpoint.exchanges[1].body["response_format"]
    assert [message.data for message in delivered if message.event == "data"] == ['{"a":[1,2]}']
    chat = await conversations.load("s")
    assert chat.messages[-1] == {"role": "assistant", "content": '{"a":[1,2]}'}
    assert Answer((await read_reply(streams, reply.headers["X-Stream-Id"])).events).messages() == chat.messages[1:]


@pytest.mark.parametrize("pieces", [("I would rather not",), ('{"a": 1}', " or so")])
async def test_an_answer_that_is_not_json_can_be_looked_into(pieces: tuple[str, ...]) -> None:
    conversations = MemoryConversationStore()
    handler = StreamHandler(model=ScriptedModel(*pieces), conversations=conversations)
    await run(handler, {"prompt": "x", "sessionId": "s"}, "structured")
    chat = await conversations.load("s")
    assert chat.messages[-1]["content"] == "".join(pieces)
    assert metadata_of(chat)[-1] == {"finish": "error", "error": "The model's answer is not valid JSON"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"toolset": "nobody"}, 'Unknown toolset: "nobody"'),
        ({"toolset": 7}, "toolset must be a string"),
        ({"maxSteps": 51}, "maxSteps must be"),
        ({"maxSteps": True}, "maxSteps must be"),
    ],
)
@pytest.mark.parametrize("endpoint", ["stream", "structured"])
async def test_wrong_tools_are_refused(body: dict[str, Any], error: str, endpoint: str) -> None:
    handler = make_handler(ScriptedModel("x"), MemoryStreamStore(), MemoryConversationStore())
    with pytest.raises(RequestError, match=error):
        await getattr(handler, endpoint)({"prompt": "x", **body})


# --- the part of a conversation that a model sees ---


@backends
@pytest.mark.parametrize("most", range(8))
async def test_a_path_that_begins_inside_a_turn_makes_a_whole_request(backend: str, most: int, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model() as (endpoint, model):
        handler = make_handler(model, streams, conversations, max_messages=most)
        await run(handler, BODY)
        await run(handler, {"prompt": "And now?", "sessionId": "s"})
        request = endpoint.exchanges[-1].body["messages"]
        check_request(request)
        assert len(request) <= most + 1
        assert request[-1] == {"role": "user", "content": "And now?"}
        if most in (1, 4, 6):
            assert len(request) == most + 1  # nothing was cut that could stay


def test_results_without_calls_are_left_out_and_calls_without_results_are_answered() -> None:
    first, *results = round_messages(2)
    path = [results[0], QUESTION, first, results[1], {"role": "assistant", "content": ""}, results[0], first, QUESTION]
    context = context_of(path)
    check_request(context)
    unknown = {"role": "tool", "tool_call_id": "c20", "content": '{"error":"The result of this call is not known"}'}
    assert context == [
        QUESTION,
        *[first, results[1], unknown],
        *[first, unknown, {**unknown, "tool_call_id": "c21"}],
        QUESTION,
    ]


def test_calls_of_any_shape_are_told() -> None:
    odd: list[dict[str, Any]] = [
        {"role": "assistant", "content": "", "tool_calls": "none"},
        {"role": "assistant", "content": "", "tool_calls": ["x", {"id": 7}, {"id": "a", "name": "f"}]},
    ]
    assert [message["role"] for message in context_of([*odd, QUESTION])] == ["assistant", "assistant", "tool", "user"]
    assert transcript([*odd, *round_messages(1)]) == (
        "assistant: \n\nassistant: (calls a tool with {})\n(calls f with {})\n\n"
        'assistant: round 1, looking. \n(calls look with {"at":"1"})\n\ntool: {"seen":"1 – blå"}'
    )


# --- branches ---


@backends
@pytest.mark.parametrize("most", [None, 1, 100])
async def test_any_message_of_an_answer_asks_its_question_again(backend: str, most: int | None, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model() as (endpoint, model):
        handler = make_handler(model, streams, conversations, max_messages=most)
        await run(handler, {"prompt": "before", "sessionId": "s", "toolset": "eyes"})
        await run(handler, BODY)
        ids = (await conversations.load("s")).node_ids
        question, *answer = ids[len(TURN) :]
        for number, node_id in enumerate(answer, 2):
            asked = len(endpoint.exchanges)
            await run(handler, {**BODY, "prompt": "", "regenerate": node_id})
            request = endpoint.exchanges[asked].body["messages"]
            assert request[-1] == QUESTION
            assert len(request) == (len(TURN) + 1 if most != 1 else 2)
            chat = await conversations.load("s")
            node = chat.tree.get(question)
            assert node is not None
            assert len(node.children) == number
            assert chat.messages[len(TURN) :] == TURN
            assert chat.node_ids[: len(TURN) + 1] == [*ids[: len(TURN)], question]
            assert chat.node_ids[-1] not in ids


async def test_an_answer_cannot_be_edited_into_a_question() -> None:
    conversations = MemoryConversationStore()
    handler = make_handler(ScriptedModel("ok"), MemoryStreamStore(), conversations)
    await run(handler, {"prompt": "one", "sessionId": "s"})
    answer = (await conversations.load("s")).node_ids[-1]
    with pytest.raises(RequestError, match="edit needs the id of a question"):
        await handler.stream({"prompt": "two", "sessionId": "s", "edit": answer})


@backends
async def test_a_turn_that_begins_between_two_rounds_keeps_its_place(backend: str, tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(at: str) -> str:
        if at == "2":
            await gate.wait()
        return at

    script = partial(tool_turn, last=Reply(texts("That ", "is all."), stall_after=2))
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model(script) as (endpoint, model):
        handler = make_handler(model, streams, conversations)
        handler._toolsets = {"eyes": [Tool("look", "Looks", wait)]}
        first = await handler.stream(BODY)
        while len((await conversations.load("s")).messages) < 3:
            await asyncio.sleep(0.001)
        await run(handler, {"prompt": "meanwhile", "sessionId": "s", "toolset": None})
        between = await conversations.load("s")
        for exchange in endpoint.exchanges:
            check_request(exchange.body["messages"])
        gate.set()
        while (chat := await conversations.load("s")).size < between.size + 3:
            await asyncio.sleep(0.001)
        assert chat.node_ids == between.node_ids
        await until(lambda: endpoint.exchanges[-1].sent == 2)
        await asyncio.sleep(0.2)
        await handler.stop({"id": first.headers["X-Stream-Id"]})
        chat = await conversations.load("s")
        assert len(since_question(chat.messages)) == 6  # the end of the first turn is the end of the conversation
        assert between.node_ids[-1] in chat.tree
        assert not (await handler.recover("s")).recovered


# --- saving that fails ---


async def test_a_round_that_the_stream_does_not_take_is_not_in_the_conversation(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client, open_model() as (_, model):
        await migrate(client)
        faults = Faults()
        others = SqliteStreamStore(client)

        async def look_and_lose(at: str) -> Any:
            if at == "2":
                faults.down = True
                (stream_id,) = await others.live_streams("s")
                await others.fail(stream_id, "producer lost")
            return await look(at)

        handler = make_handler(
            model, SqliteStreamStore(FaultySqliteClient(client, faults)), conversations := SqliteMessageStore(client)
        )
        handler._toolsets = {"eyes": [Tool("look", "Looks", look_and_lose)]}
        reply = await handler.stream(BODY)
        await until(lambda: faults.down)
        await asyncio.sleep(0.3)
        during = (await conversations.load("s")).messages
        faults.down = False
        body: Any = reply.body
        async for _ in body:
            pass
        await handler.recover("s")
        chat = await conversations.load("s")
        (status,) = await others.list_streams(session_id="s")
        stored = await read_reply(others, status.stream_id)
        assert chat.messages[1:] == Answer(stored.events).messages()
        assert len(during) <= len(chat.messages)


async def test_an_answer_that_is_saved_late_and_recovered_is_there_once(tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client:
        await migrate(client)
        faults = Faults(script=[None, "late"], max_delay_s=2.0)
        handler = make_handler(
            ScriptedModel("once"), SqliteStreamStore(client), SqliteMessageStore(FaultySqliteClient(client, faults))
        )
        reply = await handler.stream({"prompt": "one", "sessionId": "s"})
        await until(lambda: faults.struck["late"])
        faults.down = True
        conversations = SqliteMessageStore(client)
        other = make_handler(ScriptedModel("x"), SqliteStreamStore(client), conversations)
        assert (await other.recover("s")).recovered
        await faults.wait_settled()
        faults.down = False
        body: Any = reply.body
        async for _ in body:
            pass
        chat = await conversations.load("s")
        assert [message["content"] for message in chat.messages] == ["one", "once"]
        assert chat.size == 2


@pytest.mark.parametrize("kind", [SqliteConversationStore, SqliteMessageStore], ids=["json", "rows"])
@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("struck", [1, 2, 3])
async def test_a_round_that_cannot_be_saved_is_saved_with_the_next(
    kind: Any, fault: Fault, struck: int, tmp_path: Path
) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client, open_model() as (_, model):
        await migrate(client)
        faulty = Struck(client, fault, struck)

        async def look_when_saved(at: str) -> Any:
            await until(lambda: faulty.saves >= int(at) - 1)  # so that each round is a save
            return await look(at)

        handler = make_handler(model, SqliteStreamStore(client), kind(faulty))
        handler._toolsets = {"eyes": [Tool("look", "Looks", look_when_saved)]}
        await run(handler, BODY)
        assert faulty.saves >= struck
        if struck == 3:  # the end of the turn: recovered from its stream
            await handler.recover("s")
        chat = await kind(client).load("s")
        assert chat.messages == TURN
        assert chat.size == len(TURN)


@both_ways
async def test_a_store_that_hangs_holds_no_token_back(resumable: bool, tmp_path: Path) -> None:
    async with wrap_sqlite3(tmp_path / "chat.db") as client, open_model() as (endpoint, model):
        await migrate(client)
        faults = Faults()

        async def look_and_hang(at: str) -> Any:
            faults.pause()
            return await look(at)

        handler = make_handler(
            model,
            SqliteStreamStore(client),
            SqliteMessageStore(FaultySqliteClient(client, faults)),
            resumable=resumable,
        )
        handler._toolsets = {"eyes": [Tool("look", "Looks", look_and_hang)]}
        reply = await handler.stream(BODY)
        body: Any = reply.body
        parser, seen = SseParser(), ""
        async with asyncio.timeout(PATIENCE_S):
            while not seen.endswith("That is all."):
                seen += text_of(parser.feed(await anext(body)))
        assert len(endpoint.exchanges) == 3
        assert (await SqliteMessageStore(client).load("s")).messages == [QUESTION]
        faults.resume()
        async for _ in body:
            pass
        assert (await SqliteMessageStore(client).load("s")).messages == TURN


class Struck(FaultySqliteClient):
    """Strikes one save after the first, which is that of the question."""

    def __init__(self, client: Any, fault: Fault, number: int) -> None:
        super().__init__(client, Faults(script=[*[None] * number, fault]))
        self.saves = -1

    async def execute(self, sql: str, args: Any = ()) -> Any:
        self._count(sql)
        return await super().execute(sql, args)

    async def batch(self, statements: Any) -> Any:
        self._count(statements[0].sql)
        return await super().batch(statements)

    def _count(self, sql: str) -> None:
        if any(word in sql for word in ("INSERT", "UPDATE")):
            self.saves += 1


# --- recovery ---


def lost_events(count: int) -> list[StreamEvent]:
    """Return the first events of such a turn."""
    events = []
    for number in (1, 2):
        call, *results = round_messages(number)
        events += [StreamEvent("reasoning", call["reasoning"]), StreamEvent("", call["content"])]
        for one in call["tool_calls"]:
            arguments = json.loads(one["function"]["arguments"])
            events.append(StreamEvent("tool_call", json.dumps({"id": one["id"], "name": "look", "args": arguments})))
        for one in results:
            result = {"id": one["tool_call_id"], "name": "look", "result": json.loads(one["content"])}
            events.append(StreamEvent("tool_result", json.dumps(result)))
    return [*events, StreamEvent("", "That "), StreamEvent("", "is all.")][:count]


ALL_EVENTS = len(lost_events(100))


@backends
@pytest.mark.parametrize("stored", [0, 2, 5])
@pytest.mark.parametrize("count", range(1, ALL_EVENTS + 1))
@pytest.mark.parametrize("most", [None, 0])
async def test_a_lost_turn_is_completed_and_not_doubled(
    backend: str, stored: int, count: int, most: int | None, tmp_path: Path
) -> None:
    async with open_stores(backend, tmp_path) as (_, conversations):
        streams = MemoryStreamStore()
        chat = ChatHistory()
        chat.append({"role": "user", "content": "long ago"})
        chat.append({"role": "assistant", "content": "indeed"})
        for message in TURN[: 1 + stored]:
            chat.append(message, {"streamId": "lost"})
        await conversations.save("s", chat)
        await streams.create("lost")
        for event in lost_events(count):
            await streams.append("lost", f"{event.event}\x01{event.data}")
        await streams.fail("lost", "producer lost")
        model = ScriptedModel("ok")
        handler = make_handler(model, streams, conversations, max_messages=most)
        if count == 1 and not stored:
            assert (await handler.recover("s")).unanswered == "failed"
            return
        await run(handler, {"prompt": "on", "sessionId": "s"})
        found = await conversations.load("s")
        assert found.size == len(found.messages)  # no branch
        told = found.messages[2:-2]
        whole = Answer(lost_events(count)).messages()
        expected = whole if len(whole) > stored else [*TURN[1 : 1 + stored], Answer().messages()[0]]
        assert told == [QUESTION, *expected]
        assert metadata_of(found)[-3] == {"streamId": "lost", "finish": "error", "error": "producer lost"}
        check_request([dict(message) for message in model.requests[0].messages])
        assert not (await handler.recover("s")).recovered


@backends
@pytest.mark.parametrize("leaf", range(6))
async def test_a_whole_turn_that_the_reader_went_back_in_is_left_alone(backend: str, leaf: int, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations), open_model() as (_, model):
        handler = make_handler(model, streams, conversations, max_messages=1)
        await run(handler, BODY)
        chat = await conversations.load("s")
        chat.tree.set_active_leaf(chat.node_ids[leaf])
        await conversations.save("s", chat)
        found = await handler.recover("s")
        assert (found.recovered, found.unanswered, found.live_stream) == (False, None, None)
        assert (await conversations.load("s")).size == len(TURN)


@backends
async def test_a_lost_turn_is_found_from_its_question(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (_, conversations):
        streams = MemoryStreamStore()
        chat = ChatHistory()
        for message in TURN[:3]:
            chat.append(message, {"streamId": "lost"})
        chat.tree.set_active_leaf(chat.node_ids[0])
        await conversations.save("s", chat)
        await streams.create("lost")
        for event in lost_events(ALL_EVENTS):
            await streams.append("lost", f"{event.event}\x01{event.data}")
        await streams.fail("lost", "producer lost")
        handler = make_handler(ScriptedModel("ok"), streams, conversations, max_messages=0)
        await run(handler, {"prompt": "on", "sessionId": "s"})
        messages = (await conversations.load("s")).messages
        assert messages == [*TURN, {"role": "user", "content": "on"}, {"role": "assistant", "content": "ok"}]


@backends
async def test_the_rounds_of_a_plain_turn_that_was_killed_stay(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as (streams, conversations):
        chat = ChatHistory()
        for message in TURN[:3]:
            chat.append(message)
        await conversations.save("s", chat)
        model = ScriptedModel("ok")
        handler = make_handler(model, streams, conversations, resumable=False)
        assert (await handler.recover("s")).unanswered == "no stream"
        await run(handler, {"prompt": "on", "sessionId": "s"})
        assert model.requests[0].messages == [*TURN[:3], {"role": "user", "content": "on"}]


async def test_what_another_process_recovered_is_not_stored_again(tmp_path: Path) -> None:
    script = partial(tool_turn, last=Reply(texts("That ", "is all."), delay_s=0.1))
    async with open_stores("rows", tmp_path) as (streams, conversations), open_model(script) as (_, model):
        handler = make_handler(model, streams, conversations)
        reply = await handler.stream(BODY)
        while len((await conversations.load("s")).messages) < 6:
            await asyncio.sleep(0.001)
        chat = await conversations.load("s")
        chat.append({"role": "assistant", "content": "as far as it came"}, {"streamId": reply.headers["X-Stream-Id"]})
        await conversations.save("s", chat)
        await messages_of(reply)
        assert (await conversations.load("s")).to_json() == chat.to_json()


# --- the messages of events ---


@given(st.integers(min_value=0, max_value=ALL_EVENTS))
def test_the_rounds_of_a_beginning_are_the_beginning_of_all(count: int) -> None:
    part = Answer(lost_events(count))
    rounds = part.whole_rounds()
    assert rounds == TURN[1 : 1 + len(rounds)]
    assert rounds == part.messages()[: len(rounds)]
    assert part.messages()[-1]["role"] == "assistant"
    assert part.text == "".join(event.data for event in lost_events(count) if event.is_text)


def test_a_round_that_lacks_a_result_is_not_skipped() -> None:
    first, second = (StreamEvent("tool_call", json.dumps({"id": id_, "name": "f", "args": {}})) for id_ in "ab")
    result = StreamEvent("tool_result", '{"id":"a","name":"f","result":1}')
    answer = Answer([first, second, result, first, result])
    assert answer.whole_rounds() == []
    assert [message["role"] for message in answer.messages()] == ["assistant", "tool"] * 2 + ["assistant"]


@pytest.mark.parametrize(
    "event",
    [
        StreamEvent("tool_call", "x"),
        StreamEvent("tool_call", "[]"),
        StreamEvent("tool_call", '{"name":"look"}'),
        StreamEvent("tool_result", '{"id":"nobody","result":1}'),
        StreamEvent("usage", "?"),
        StreamEvent("progress", "50%"),
    ],
)
def test_events_of_others_are_no_part_of_an_answer(event: StreamEvent) -> None:
    answer = Answer([StreamEvent("", "a"), event, StreamEvent("", "b")])
    assert answer.messages() == [{"role": "assistant", "content": "ab"}]
    assert answer.ending(StreamEnd("done")) == {}


async def test_a_stream_of_model_events_is_kept_as_it_is_told_in_the_turn() -> None:
    """The model of the second round sees what the conversation keeps."""
    conversations = MemoryConversationStore()
    requests: list[Any] = []

    class Caller:
        async def stream(self, request: Any) -> AsyncIterator[Any]:
            requests.append(request)
            if len(requests) == 2:
                raise ModelError("no more")
            yield ReasoningDelta("hm")
            yield TextDelta("let me see")
            yield ToolCall("c", "look", "")
            yield Finish("tool_calls")
            yield Usage(3, 4)

    handler = make_handler(Caller(), MemoryStreamStore(), conversations)
    await run(handler, BODY)
    chat = await conversations.load("s")
    assert requests[1].messages == chat.messages[:-1]
    usage_ = {"inputTokens": 3, "outputTokens": 4}
    assert metadata_of(chat)[-1].items() >= {"finish": "error", "usage": usage_}.items()
    assert "finishReason" not in metadata_of(chat)[-1]  # of the first round


def test_exchanges_are_what_the_endpoint_saw() -> None:
    """The scripted endpoint counts rounds by what it is sent."""
    body = {"messages": [QUESTION, *sent(round_messages(1))]}
    exchange = Exchange("POST", "/", {}, json.dumps(body).encode(), 1)
    assert tool_turn(exchange).data == Reply(call_round(2, calls=2)).data
