"""Calls that wait for a user: asked, answered at any process, and run once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aibind.conversations import ConversationStore, MemoryConversationStore
from aibind.errors import RequestError
from aibind.models import (
    Approval,
    ApprovalRequest,
    Finish,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
)
from aibind.server import Access, HttpResponse, StreamHandler, Tool
from aibind.sqlite import SqliteConversationStore, SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import MemoryStreamStore, SseMessage, SseParser, StreamStore
from tests.support.tools import check_request

BODY = {"prompt": "Tidy up", "sessionId": "s", "toolset": "hands", "system": "Be brief"}
LEASE_MS = 200

backends = pytest.mark.parametrize("backend", ["memory", "json", "rows"])


class Hands:
    """Tools that remember what they did; ``hold`` makes one wait in the middle."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.hold: asyncio.Event | None = None
        self.began = asyncio.Event()

    async def remove(self, path: str) -> Any:
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()
        self.done.append(path)
        return {"removed": path}

    async def look(self, path: str) -> Any:
        return f"{path} is there"

    def tools(self, needs_approval: Any = True) -> list[Tool]:
        return [
            Tool("remove", "Removes a file", self.remove, needs_approval=needs_approval),
            Tool("look", "Looks", self.look),
        ]


class Scripted:
    """A model that calls what its rounds say, one after another, and keeps what it was asked."""

    def __init__(self, *rounds: list[ModelEvent]) -> None:
        self._rounds = list(rounds)
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        check_request([dict(message) for message in request.messages])
        self.asked.append(request)
        events: list[ModelEvent] = self._rounds.pop(0) if self._rounds else [TextDelta("All done."), Usage(3, 4)]
        for event in events:
            yield event


def call(number: int, name: str = "remove") -> ToolCall:
    return ToolCall(f"c{number}", name, json.dumps({"path": f"/{number}"}))


@asynccontextmanager
async def open_stores(backend: str, folder: Path) -> AsyncIterator[tuple[StreamStore, ConversationStore]]:
    if backend == "memory":
        yield MemoryStreamStore(lease_ms=LEASE_MS), MemoryConversationStore()
        return
    async with wrap_sqlite3(folder / "chat.db") as client:
        await migrate(client)
        kind = SqliteConversationStore if backend == "json" else SqliteMessageStore
        yield SqliteStreamStore(client, lease_ms=LEASE_MS), kind(client)


def make_handler(
    model: Any, stores: tuple[StreamStore, ConversationStore], hands: Hands, **options: Any
) -> StreamHandler:
    needs_approval = options.pop("needs_approval", True)
    return StreamHandler(
        model=model,
        conversations=stores[1],
        resumable=True,
        store=stores[0],
        toolsets={"hands": hands.tools(needs_approval)},
        **options,
    )


async def read(reply: HttpResponse[Any]) -> list[SseMessage]:
    parser, messages = SseParser(), list[SseMessage]()
    async for piece in reply.body:
        messages += parser.feed(piece)
    return messages


def named(messages: list[SseMessage], name: str) -> list[Any]:
    return [json.loads(one.data) for one in messages if one.event == name]


def body_of(reply: HttpResponse[Any]) -> Any:
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


async def pending(handler: StreamHandler, access: Access | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(await handler.approvals.list("s", access))["approvals"]
    return found


async def answer(handler: StreamHandler, **approvals: Any) -> HttpResponse[Any]:
    return await handler.approvals.answer("s", {"approvals": approvals}, None)


async def refusal(handler: StreamHandler, **approvals: Any) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        await answer(handler, **approvals)
    return caught.value.status, str(caught.value)


async def last_messages(conversations: ConversationStore) -> list[Any]:
    return (await conversations.load("s")).messages


@backends
async def test_a_call_waits_and_is_run_by_another_process_once_it_is_allowed(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([TextDelta("Let me. "), call(1), Usage(1, 2)])
        first = make_handler(model, stores, hands)
        events = await read(await first.stream(BODY))
        [asked] = named(events, "approval_request")
        assert asked["id"] == "c1"
        assert asked["name"] == "remove"
        assert asked["args"] == {"path": "/1"}
        names = [one.event for one in events if one.event]
        assert names == ["stream-id", "tool_call", "approval_request", "finish", "usage", "done"]
        assert next(one.data for one in events if one.event == "finish") == "waiting"
        assert hands.done == []

        second = make_handler(model, stores, hands)
        assert await pending(second) == [{"id": "c1", "name": "remove", "args": {"path": "/1"}, "state": "waiting"}]
        events = await read(await answer(second, c1=True))
        names = [one.event for one in events if one.event]
        assert names == ["stream-id", "approval", "tool_running", "tool_result", "usage", "done"]
        assert "".join(one.data for one in events if not one.event) == "All done."
        assert hands.done == ["/1"]
        assert await pending(first) == []

        assert [message["role"] for message in model.asked[1].messages] == ["user", "assistant", "tool"]
        assert model.asked[1].messages[-1]["content"] == '{"removed":"/1"}'
        assert model.asked[1].system == "Be brief"
        said = await last_messages(stores[1])
        assert [message["role"] for message in said] == ["user", "assistant", "tool", "tool", "assistant"]
        assert said[2]["approvals"] == [{"id": "c1", "approved": True}]

        await read(await first.stream({"prompt": "And now?", "sessionId": "s"}))
        assert [message["role"] for message in model.asked[2].messages] == [
            *("user", "assistant", "tool", "assistant"),
            "user",
        ]


@backends
async def test_a_repeated_answer_follows_the_same_reply_and_another_is_refused(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1)])
        handlers = [make_handler(model, stores, hands) for _ in range(4)]
        await read(await handlers[0].stream(BODY))
        hands.hold = asyncio.Event()
        begun = await asyncio.gather(*(answer(handler, c1=True) for handler in handlers))
        await hands.began.wait()
        assert (await refusal(handlers[1], c1=False))[0] == 409
        hands.hold.set()
        replies = await asyncio.gather(*map(read, begun))
        late = await read(await answer(handlers[2], c1={"approved": True}))
        assert hands.done == ["/1"]
        assert len(model.asked) == 2
        for reply in (*replies, late):
            assert reply[0].event == "stream-id"
            assert reply[0].data == late[0].data
            assert "".join(one.data for one in reply if not one.event) == "All done."
        assert await refusal(handlers[3], c1=False) == (409, 'Call "c1" has another answer already')
        assert await refusal(handlers[3], c9=True) == (
            404,
            "No call of this conversation that waits for approval has this id",
        )


@backends
async def test_answers_come_one_by_one_and_the_turn_goes_on_with_the_last(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1), call(2, "look"), call(3), call(4)])
        first, second = make_handler(model, stores, hands), make_handler(model, stores, hands)
        events = await read(await first.stream(BODY))
        assert [result["id"] for result in named(events, "tool_result")] == ["c2"]
        assert [one["id"] for one in await pending(second)] == ["c1", "c3", "c4"]

        reply = await answer(first, c1={"approved": False, "reason": "I need it"})
        assert reply.status == 202
        assert (await answer(second, c1={"approved": False, "reason": "I need it"})).status == 202
        assert (await refusal(second, c1=True))[0] == 409
        reply = await answer(second, c3={"approved": True, "args": {"path": "/elsewhere"}})
        listed = body_of(reply)["approvals"]
        assert [one["state"] for one in listed] == ["denied", "approved", "waiting"]
        assert hands.done == []
        assert len(model.asked) == 1

        events = await read(await answer(first, c4=True))
        assert hands.done == ["/elsewhere", "/4"]
        assert [one["approved"] for one in named(events, "approval")] == [False, True, True]
        results = {message.get("tool_call_id"): message["content"] for message in model.asked[1].messages}
        assert json.loads(results["c1"]) == {"error": "The user did not allow this call", "reason": "I need it"}
        assert results["c2"] == '"/2 is there"'
        assert results["c3"] == '{"removed":"/elsewhere"}'
        called = {one["id"]: one["function"]["arguments"] for one in model.asked[1].messages[1]["tool_calls"]}
        assert json.loads(called["c3"]) == {"path": "/elsewhere"}
        assert json.loads(called["c4"]) == {"path": "/4"}


@backends
async def test_a_new_message_declines_what_waits(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1)])
        handler = make_handler(model, stores, hands)
        await read(await handler.stream(BODY))
        await read(await handler.stream({**BODY, "prompt": "Never mind"}))
        assert await pending(handler) == []
        assert hands.done == []
        assert [message["role"] for message in model.asked[1].messages] == ["user", "assistant", "tool", "user"]
        assert "did not allow" in model.asked[1].messages[2]["content"]
        assert (await refusal(handler, c1=True)) == (409, 'Call "c1" was declined by a new message')


@backends
async def test_a_tool_that_dies_in_the_middle_is_run_again_only_when_told_so(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1), call(2)])
        first, second = make_handler(model, stores, hands), make_handler(model, stores, hands)
        await read(await first.stream(BODY))
        hands.hold = asyncio.Event()  # never set: the tool is ended in the middle
        reply = await answer(first, c1=True, c2=True)
        await hands.began.wait()
        await first.aclose()
        assert [one.event for one in await read(reply)][-2:] == ["error", "done"]

        assert await pending(second) == [
            {"id": "c1", "name": "remove", "args": {"path": "/1"}, "state": "unknown", "attempts": 1},
            {
                "id": "c2",
                "name": "remove",
                "args": {"path": "/2"},
                "state": "approved",
                "answer": {"id": "c2", "approved": True},
            },
        ]
        unknown = (await last_messages(stores[1]))[-1]
        assert unknown["tool_call_id"] == "c1"
        assert unknown["outcome"] == "unknown"
        hands.hold = None
        again = await answer(second, c1=True, c2=True)  # the same answers: nothing is run
        assert again.status == 200
        assert not named(await read(again), "tool_result")
        assert hands.done == []
        assert (await refusal(second, c2={"retry": True}))[0] == 409

        events = await read(await answer(second, c1={"retry": 1}))
        assert hands.done == ["/1", "/2"]
        assert [result["id"] for result in named(events, "tool_result")] == ["c1", "c2"]
        await read(await answer(second, c1={"retry": 1}))
        assert hands.done == ["/1", "/2"]
        assert [message["content"] for message in model.asked[1].messages[2:]] == [
            '{"removed":"/1"}',
            '{"removed":"/2"}',
        ]


async def test_an_unknown_outcome_can_be_left_as_it_is(tmp_path: Path) -> None:
    async with open_stores("rows", tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1)])
        first, second = make_handler(model, stores, hands), make_handler(model, stores, hands)
        await read(await first.stream(BODY))
        hands.hold = asyncio.Event()
        reply = await answer(first, c1=True)
        await hands.began.wait()
        await first.stop({"id": reply.headers["X-Stream-Id"]})
        assert [one["state"] for one in await pending(second)] == ["unknown"]
        await read(await answer(second, c1=False))
        assert hands.done == []
        assert "not known" in model.asked[1].messages[-1]["content"]


async def test_a_claim_whose_reply_is_gone_counts_as_unknown(tmp_path: Path) -> None:
    """The stream was in the memory of a process that was killed, so that nobody can tell how far it came."""
    async with open_stores("rows", tmp_path) as (_, conversations):
        hands, model = Hands(), Scripted([call(1)])
        first = make_handler(model, (MemoryStreamStore(), conversations), hands)
        second = make_handler(model, (MemoryStreamStore(), conversations), hands)
        await read(await first.stream(BODY))
        hands.hold = asyncio.Event()
        await answer(first, c1=True)
        await hands.began.wait()
        assert [one["state"] for one in await pending(second)] == ["unknown"]
        assert (await refusal(second, c1=True))[0] == 409
        await first.aclose()
        assert hands.done == []


class Agent:
    """A model that runs its own tools, as frameworks do."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent | str]:
        self.asked.append(request)
        if not request.approvals:
            yield "I would like to. "
            yield ApprovalRequest("a1", "pay", '{"sum":5}', {"currency": "EUR"})
            yield Finish("stop")
            return
        for call_id, approval in request.approvals.items():
            yield ToolResult(call_id, "pay", json.dumps({"paid": approval.approved}))
        yield "Thank you."


@backends
async def test_a_model_can_ask_for_approval_of_its_own_calls(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        agent = Agent()
        handler = make_handler(agent, stores, Hands())
        events = await read(await handler.stream({"prompt": "Pay", "sessionId": "s"}))
        assert [one.event for one in events if one.event] == [
            *("stream-id", "tool_call", "approval_request", "finish"),
            "done",
        ]
        [waiting] = await pending(handler)
        assert waiting["details"] == {"currency": "EUR"}
        events = await read(await answer(handler, a1={"approved": True, "args": {"sum": 4}, "reason": "less"}))
        assert agent.asked[1].approvals == {"a1": Approval(True, '{"sum":4}', "less")}
        assert agent.asked[1].messages[-1]["role"] == "assistant"
        assert [one.event for one in events if one.event] == [
            *("stream-id", "approval", "tool_running", "tool_result"),
            "done",
        ]
        said = await last_messages(stores[1])
        assert [message["content"] for message in said[-2:]] == ['{"paid":true}', "Thank you."]
        assert await pending(handler) == []


async def test_approval_may_depend_on_arguments_and_request(tmp_path: Path) -> None:
    async with open_stores("rows", tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1), call(2), call(3)])

        async def needed(arguments: Mapping[str, Any], request: ModelRequest) -> bool:
            assert request.session_id == "s"
            assert request.owner is None
            if arguments["path"] == "/3":
                raise ValueError("cannot tell")
            return str(arguments["path"]) == "/2"

        handler = make_handler(model, stores, hands, needs_approval=needed)
        await read(await handler.stream(BODY))
        assert hands.done == ["/1"]
        assert [one["id"] for one in await pending(handler)] == ["c2", "c3"]


async def test_sessions_show_what_waits_and_belong_to_their_owners(tmp_path: Path) -> None:
    async with open_stores("rows", tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1)])
        handler = make_handler(model, stores, hands)
        ada, bob = Access("ada"), Access("bob")
        await read(await handler.stream(BODY, access=ada))
        opened = body_of(await handler.sessions(ada).open("s", {}, {}))
        assert [one["id"] for one in opened["approvals"]] == ["c1"]
        assert opened["messages"][-1]["metadata"]["finish"] == "waiting"
        assert await pending(handler, bob) == []
        with pytest.raises(RequestError):
            await handler.approvals.answer("s", {"approvals": {"c1": True}}, bob)
        exported = json.dumps(body_of(await handler.sessions(ada).export("s"))).encode()
        await read(await handler.approvals.answer("s", {"approvals": {"c1": True}}, ada))
        assert body_of(await handler.sessions(ada).open("s", {}, {}))["approvals"] == []
        imported = await handler.sessions(bob).import_(exported, {"sessionId": ["mine"]})
        assert imported.status == 201
        assert body_of(await handler.approvals.list("mine", bob)) == {"approvals": []}


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"approvals": {}},
        {"approvals": {"c1": "yes"}},
        {"approvals": {"c1": {}}},
        {"approvals": {"c1": {"approved": 1}}},
        {"approvals": {"c1": {"approved": False, "args": {}}}},
        {"approvals": {"c1": {"approved": True, "args": "x"}}},
        {"approvals": {"c1": {"approved": True, "reason": 5}}},
        {"approvals": {"c1": {"retry": 0}}},
        {"approvals": {"c1": {"retry": True, "approved": False}}},
        {"approvals": {"c1": {"approved": True, "more": 1}}},
    ],
)
async def test_a_wrong_body_is_refused(body: Any, tmp_path: Path) -> None:
    async with open_stores("memory", tmp_path) as stores:
        handler = make_handler(Scripted(), stores, Hands())
        with pytest.raises(RequestError) as caught:
            await handler.approvals.answer("s", body, None)
        assert caught.value.status == 400


async def test_a_server_that_cannot_go_on_says_so() -> None:
    handler = StreamHandler(model=Scripted())
    with pytest.raises(RequestError) as caught:
        await handler.approvals.list("s", None)
    assert caught.value.status == 501


@backends
async def test_a_tool_of_the_page_waits_for_its_result(backend: str, tmp_path: Path) -> None:
    async with open_stores(backend, tmp_path) as stores:
        hands, model = Hands(), Scripted([call(1), call(2, "ask"), call(3, "look")])
        handler = StreamHandler(
            model=model,
            conversations=stores[1],
            resumable=True,
            store=stores[0],
            toolsets={"hands": [*hands.tools(), Tool("ask", "Asks on the page", None)]},
        )
        events = await read(await handler.stream(BODY))
        removing, asking = named(events, "approval_request")
        assert "details" not in removing
        assert asking["details"] == {"runs": "page"}
        assert [result["id"] for result in named(events, "tool_result")] == ["c3"]
        assert await refusal(handler, c2=True) == (400, 'Call "c2" needs the result of the page')
        assert await refusal(handler, c1={"result": 1}) == (400, 'Call "c1" is run here: leave out the result')
        assert (await refusal(handler, c2={"result": 1, "reason": "why"}))[0] == 400
        assert (await answer(handler, c2={"result": {"said": "yes"}})).status == 202
        assert (await refusal(handler, c2={"result": "no"}))[0] == 409
        events = await read(await answer(handler, c1=True))
        assert {result["id"]: result["result"] for result in named(events, "tool_result")} == {
            "c1": {"removed": "/1"},
            "c2": {"said": "yes"},
        }
        assert hands.done == ["/1"]
        told = {one["tool_call_id"]: one["content"] for one in model.asked[1].messages if one["role"] == "tool"}
        assert told["c2"] == '{"said":"yes"}'


async def test_arguments_that_are_no_object_do_not_reach_the_page(tmp_path: Path) -> None:
    async with open_stores("memory", tmp_path) as stores:
        model = Scripted([ToolCall("c1", "ask", "nonsense")])
        handler = StreamHandler(
            model=model,
            conversations=stores[1],
            resumable=True,
            store=stores[0],
            toolsets={"hands": [Tool("ask", "Asks on the page", None)]},
        )
        events = await read(await handler.stream(BODY))
        assert named(events, "approval_request") == []
        assert "error" in named(events, "tool_result")[0]["result"]
