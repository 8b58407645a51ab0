"""AG-UI's own client against a real server: run, leave, connect, stop, fail, and approve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibind.models import CustomEvent, ModelEvent, ModelRequest, ReasoningDelta, TextDelta, ToolCall, ToolResult, Usage
from aibind.protocols import AgUiEncoder
from aibind.server import StreamHandler, Tool, create_agent_app
from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3
from aibind.streams import EventBatch, StreamEnd, StreamEvent
from tests.support.http import serve

from .driver import Driver, running_driver


class Script:
    """Says words, or what a request's text asks for; keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.asked.append(request)
        last = request.messages[-1]
        if last["role"] == "tool":
            yield TextDelta(f"Refunded: {last['content']}")
        elif last["content"] == "refund":
            yield ToolCall("call_1", "refund", '{"euros": 20}')
        elif last["content"] == "think":
            yield ReasoningDelta("Let me see. ")
            yield TextDelta("A clock: ")
            yield ToolCall("c1", "clock", '{"zone": "Mars"}')
            yield ToolResult("c1", "clock", '{"time": "12:00"}')
            yield CustomEvent("progress", {"percent": 100})
            yield TextDelta("noon")
            yield Usage(7, 9)
        elif last["content"] == "fail":
            yield TextDelta("half")
            raise ZeroDivisionError
        else:
            for number in range(2000 if last["content"] == "long" else 40):
                await asyncio.sleep(0.01)
                yield TextDelta(f"word{number} ")


WORDS = "".join(f"word{number} " for number in range(40))


async def refund(euros: int) -> str:
    return f"{euros} euros"


@asynccontextmanager
async def served(model: Script) -> AsyncIterator[tuple[str, Driver]]:
    async with wrap_sqlite3(":memory:") as client:
        await migrate(client)
        schema = {"type": "object", "properties": {"euros": {"type": "integer"}}}
        handler = StreamHandler(
            model=model,
            resumable=True,
            store=SqliteStreamStore(client),
            conversations=SqliteMessageStore(client),
            toolsets={"desk": [Tool("refund", "Refunds", refund, schema, needs_approval=True)]},
        )
        app = create_agent_app(handler, options={"toolset": "desk"})
        async with handler.running(grace_s=0), serve(app) as url, running_driver("agent.mjs") as driver:
            yield f"{url}/agent", driver


def user(id: str, content: Any) -> dict[str, Any]:
    return {"id": id, "role": "user", "content": content}


def text_in(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT")


async def test_runs_keep_the_conversation() -> None:
    model = Script()
    async with served(model) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        first = await driver.run("run", name="a", message=user("u1", "think"))
        assert first["error"] is None
        assert [message["role"] for message in first["messages"]] == [
            "user", "reasoning", "assistant", "assistant", "tool", "assistant",
        ]  # fmt: skip
        assert text_in(first["events"]) == "A clock: noon"
        last = first["events"][-1]
        assert (last["type"], last["usage"]) == ("RUN_FINISHED", [{"inputTokens": 7, "outputTokens": 9}])
        custom = [event for event in first["events"] if event["type"] == "CUSTOM"]
        assert [(event["name"], event["value"]) for event in custom] == [("progress", {"percent": 100})]
        second = await driver.run("run", name="a", message=user("u2", [{"type": "text", "text": "words"}]))
        assert text_in(second["events"]) == WORDS
        roles = [message["role"] for message in model.asked[1].messages]
        assert roles == ["user", "assistant", "tool", "assistant", "user"]


async def test_a_page_that_left_connects_to_the_run_and_to_its_history() -> None:
    model = Script()
    async with served(model) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        await driver.run("run", name="a", message=user("u0", "think"))
        left = await driver.run("run", name="a", message=user("u1", "words"), leaveAfter=30)
        assert text_in(left["events"]) != WORDS
        live = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert live["error"] is None
        assert text_in(live["events"]) == WORDS
        snapshot = next(event for event in live["events"] if event["type"] == "MESSAGES_SNAPSHOT")["messages"]
        assert [message["role"] for message in snapshot] == ["user", "assistant", "tool", "assistant", "user"]
        assert snapshot[1]["toolCalls"][0]["function"]["name"] == "clock"
        later = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert later["error"] is None
        (snapshot,) = (event["messages"] for event in later["events"] if event["type"] == "MESSAGES_SNAPSHOT")
        assert snapshot[-1]["content"] == WORDS
        assert snapshot[-2]["id"] == "u1"
        assert len(model.asked) == 2


async def test_a_run_that_is_sent_twice_runs_once_and_a_new_run_asks_again() -> None:
    model = Script()
    async with served(model) as (url, driver):
        body = {"threadId": "t", "runId": "r1", "messages": [user("u1", "think")]}
        runs = [await driver.run("read", url=url, body=body) for _ in range(2)]
        assert runs[0] == runs[1]
        assert len(model.asked) == 1
        again = await driver.run("read", url=url, body={**body, "runId": "r2"})
        assert text_in(again["events"]) == "A clock: noon"
        assert len(model.asked) == 2
        other = await driver.run("read", url=url, body={**body, "threadId": "another"})
        assert text_in(other["events"]) == "A clock: noon"


async def test_a_run_is_stopped_from_elsewhere() -> None:
    async with served(Script()) as (url, driver), httpx2.AsyncClient() as client:
        await driver.run("create", name="a", url=url, threadId="t/1")
        running = asyncio.ensure_future(driver.run("run", name="a", message=user("u1", "long")))
        await asyncio.sleep(0.5)
        assert (await client.post(f"{url}/stop/t%2F1")).status_code == 200
        run = await running
        assert run["error"] is None
        assert run["events"][-1]["outcome"] == {"type": "cancelled"}
        assert text_in(run["events"]).startswith("word0 word1 ")
        assert "word1999" not in text_in(run["events"])


async def test_a_failure_is_told() -> None:
    async with served(Script()) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        run = await driver.run("run", name="a", message=user("u1", "fail"))
        assert run["events"][-1] == {"type": "RUN_ERROR", "message": "The model failed"}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"status": "resolved"}, '"20 euros"'),
        ({"status": "resolved", "payload": {"approved": True, "args": {"euros": 15}}}, '"15 euros"'),
        ({"status": "cancelled"}, "not allow"),
    ],
)
async def test_a_call_that_waits_is_an_interrupt_and_resumes(entry: dict[str, Any], said: str) -> None:
    async with served(Script()) as (url, driver):
        body = {"threadId": "t", "runId": "r1", "messages": [user("u1", "refund")]}
        waiting = await driver.run("read", url=url, body=body)
        assert waiting["error"] is None
        outcome = waiting["events"][-1]["outcome"]
        assert outcome["type"] == "interrupt"
        (interrupt,) = outcome["interrupts"]
        assert (interrupt["id"], interrupt["toolCallId"]) == ("call_1", "call_1")
        started = [event for event in waiting["events"] if event["type"] == "TOOL_CALL_START"]
        assert [event["toolCallName"] for event in started] == ["refund"]
        resumed = await driver.run(
            "read", url=url, body={**body, "runId": "r2", "resume": [{"interruptId": "call_1", **entry}]}
        )
        assert resumed["error"] is None
        (result,) = (event for event in resumed["events"] if event["type"] == "TOOL_CALL_RESULT")
        assert result["toolCallId"] == "call_1"
        assert said in text_in(resumed["events"])
        later = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert later["error"] is None
        (snapshot,) = (event["messages"] for event in later["events"] if event["type"] == "MESSAGES_SNAPSHOT")
        assert [message["role"] for message in snapshot] == ["user", "assistant", "tool", "assistant"]
        assert [message["toolCallId"] for message in snapshot if message["role"] == "tool"] == ["call_1"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "threadId"),
    ({"threadId": "t"}, "runId"),
    ({"threadId": "t", "runId": "r", "messages": []}, "last message"),
    ({"threadId": "t", "runId": "r", "messages": [{"role": "assistant", "id": "a", "content": "x"}]}, "last message"),
    ({"threadId": "t", "runId": "r", "messages": [{"role": "user", "content": "x"}]}, "id"),
    ({"threadId": "t", "runId": "r", "messages": [user("u", 7)]}, "content"),
    ({"threadId": "t", "runId": "r", "messages": [user("u", [{"type": "video"}])]}, "part"),
    ({"threadId": "t", "runId": "r", "resume": [{"status": "resolved"}]}, "interruptId"),
    ({"threadId": "t", "runId": "r", "resume": [{"interruptId": "x", "status": "resolved"}]}, "waits"),
]


async def test_what_is_refused() -> None:
    async with served(Script()) as (url, _), httpx2.AsyncClient() as client:
        for body, word in REFUSED:
            answer = await client.post(url, json=body)
            assert answer.status_code in (400, 404), body
            assert word in answer.json()["error"], (body, answer.text)
        for path in ("", "/unknown", "/stop"):
            assert (await client.get(f"{url}{path}")).status_code == 404


def test_it_needs_what_it_keeps_replies_in() -> None:
    with pytest.raises(ValueError, match="resumable"):
        create_agent_app(StreamHandler(model=Script()))


NAMES = st.sampled_from(["a", "b"])
CALLS = st.fixed_dictionaries({"id": NAMES, "name": NAMES, "args": st.just({"x": 1})})
EVENTS = st.one_of(
    st.builds(StreamEvent, st.sampled_from(["", "reasoning"]), st.text(min_size=1, max_size=5)),
    st.builds(StreamEvent, st.sampled_from(["tool_call", "approval_request"]), CALLS.map(json.dumps)),
    st.builds(StreamEvent, st.just("tool_call_delta"), CALLS.map(lambda call: json.dumps({**call, "delta": "{"}))),
    st.builds(StreamEvent, st.just("tool_result"), CALLS.map(lambda call: json.dumps({**call, "result": [1]}))),
    st.builds(StreamEvent, st.sampled_from(["usage", "custom", "finish", "partial"]), st.sampled_from(["{}", "x"])),
)
ENDS = st.sampled_from([StreamEnd("done"), StreamEnd("stopped"), StreamEnd("error", "no more")])


@given(st.lists(EVENTS, max_size=12), ENDS, st.data())
def test_live_and_replay_are_the_same_events(events: list[StreamEvent], end: StreamEnd, data: st.DataObject) -> None:
    """Wherever batches are cut; brackets are closed, and a call's arguments lie between its own."""
    cut = data.draw(st.integers(0, len(events)))
    numbered = tuple(enumerate(events, 1))
    whole = AgUiEncoder("t", "r", "s")
    replay, _ = whole(EventBatch(numbered, len(events), end))
    first, following = whole(EventBatch(numbered[:cut], cut))
    rest, _ = following(EventBatch(numbered[cut:], len(events), end))
    if cut:  # an empty batch is an idle one
        assert first + rest == replay
    open_messages: list[str] = []
    open_calls: list[str] = []
    sent = [json.loads(line.removeprefix("data: ")) for line in replay.decode().split("\n\n") if line]
    for event in sent:
        kind = event["type"]
        if kind in ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START"):
            assert not open_messages
            open_messages.append(event["messageId"])
        elif kind in ("TEXT_MESSAGE_CONTENT", "REASONING_MESSAGE_CONTENT"):
            assert open_messages == [event["messageId"]]
        elif kind in ("TEXT_MESSAGE_END", "REASONING_MESSAGE_END"):
            open_messages.remove(event["messageId"])
        elif kind == "TOOL_CALL_START":
            assert event["toolCallId"] not in open_calls
            open_calls.append(event["toolCallId"])
        elif kind == "TOOL_CALL_ARGS":
            assert event["toolCallId"] in open_calls
        elif kind == "TOOL_CALL_END":
            open_calls.remove(event["toolCallId"])
    assert open_messages == open_calls == []
    assert sent[-1]["type"] == ("RUN_ERROR" if end.state == "error" else "RUN_FINISHED")
