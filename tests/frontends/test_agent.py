"""AG-UI's own client against a real server: run, leave, connect, stop, fail, and approve."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibind.protocols import AgUiEncoder
from aibind.server import StreamHandler, create_agent_app
from aibind.streams import EventBatch, StreamEnd, StreamEvent
from tests.processes.support import run_server

from .agent_server import WORDS, Script, served, serving_agents, text_in, user
from .cut_agents import read_agents_over_cuts
from .driver import running_driver

pytestmark = pytest.mark.front_end(clients=["AG-UI"])


@pytest.mark.front_end("send", "stream", "tools")
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


@pytest.mark.front_end("reload", "stream")
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


@pytest.mark.front_end("regenerate", "edit")
async def test_the_client_asks_again_and_edits() -> None:
    model = Script()
    async with served(model) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        await driver.run("run", name="a", message=user("u1", "think"))
        await driver.run("run", name="a", message=user("u2", "think"))
        await driver.run("cut", name="a", id="u2")
        again = await driver.run("run", name="a")
        assert (again["error"], text_in(again["events"])) == (None, "A clock: noon")
        await driver.run("cut", name="a", id="u1", content="words")
        edited = await driver.run("run", name="a")
        assert (edited["error"], text_in(edited["events"])) == (None, WORDS)
        assert [sum(one["role"] == "user" for one in request.messages) for request in model.asked] == [1, 2, 2, 1]
        stored = await driver.run("connect", name="a")
        assert [(one["role"], one["content"]) for one in stored["messages"]] == [
            ("user", "words"),
            ("assistant", WORDS),
        ]


@pytest.mark.front_end("second tab")
async def test_two_tabs_show_the_same_at_the_same_time() -> None:
    model = Script()
    async with served(model) as (url, driver):
        for name in ("a", "b"):
            await driver.run("create", name=name, url=url, threadId="t")
        await driver.run("run", name="a", message=user("u1", "wait"), begin=True)
        await driver.run("waitText", name="a", length=4)
        await driver.run("connect", name="b", begin=True)
        assert [(await driver.run("waitText", name=name, length=4))["text"] for name in ("a", "b")] == ["Half", "Half"]
        model.go.set()
        tabs = [await driver.run("waitText", name=name) for name in ("a", "b")]
        assert tabs[0] == tabs[1]
        assert tabs[0]["text"] == "Half and half"


@pytest.mark.front_end("killed server")
async def test_a_server_that_is_killed_and_started_again(tmp_path: Path) -> None:
    """The answer was not in the conversation yet: connecting recovers it."""
    options = {"agent_app": True, "messages": True, "lease_ms": 600, "rate": 40}
    async with running_driver("agent.mjs") as driver:
        with run_server(tmp_path / "chat.db", **options) as (process, address):
            url = address.replace("/__aibind__", "/agent")
            await driver.run("create", name="a", url=url, threadId="t")
            await driver.run("run", name="a", message=user("u1", "400"), begin=True)
            await driver.run("waitText", name="a", length=30)
            process.kill()
            shown = await driver.run("waitText", name="a")
        with run_server(tmp_path / "chat.db", **options) as (process, address):
            url = address.replace("/__aibind__", "/agent")
            await driver.run("create", name="b", url=url, threadId="t")
            there = await driver.run("connect", name="b")
            assert there["error"] is None
            assert there["events"][-1]["type"] in (
                "RUN_FINISHED",
                "RUN_ERROR",
            )  # once the lease has run out, or before
            assert [one["role"] for one in there["messages"]] == ["user", "assistant"]
            text = there["messages"][-1]["content"]
            assert shown["text"][:20] == text[:20]
            assert "".join(f"{number} " for number in range(400)).startswith(text)
            later = await driver.run("connect", name="b")
            assert later["messages"][-1]["content"] == text
            more = await driver.run("run", name="b", message=user("u2", "3"))
            assert text_in(more["events"]) == "0 1 2 "


@pytest.mark.front_end("stop")
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


@pytest.mark.front_end("stop")
async def test_a_run_is_stopped_by_closing_where_that_is_wanted() -> None:
    async with serving_agents(Script(), stop_on_close=True) as url, running_driver("agent.mjs") as driver:
        await driver.run("create", name="a", url=url, threadId="t")
        await driver.run("run", name="a", message=user("u1", "long"), leaveAfter=30)
        there = await driver.run("connect", name="a")
        assert there["error"] is None
        assert "word1999" not in there["messages"][-1]["content"]


@pytest.mark.front_end("error")
async def test_a_failure_is_told() -> None:
    async with served(Script()) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        run = await driver.run("run", name="a", message=user("u1", "fail"))
        assert run["events"][-1] == {"type": "RUN_ERROR", "message": "The model failed"}


@pytest.mark.front_end("approval")
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


@pytest.mark.front_end("approval", "reload")
async def test_connecting_repeats_what_a_thread_waits_for() -> None:
    async with served(Script()) as (url, driver):
        body = {"threadId": "t", "runId": "r1", "messages": [user("u1", "refund")]}
        asked = await driver.run("read", url=url, body=body)
        again = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert again["error"] is None
        assert again["events"][-1]["outcome"] == asked["events"][-1]["outcome"]
        assert [event["type"] for event in again["events"]] == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
        await driver.run("read", url=url, body={**body, "runId": "r2", "messages": [user("u2", "think")]})
        later = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert "outcome" not in later["events"][-1]


PICK = {"name": "pick_date", "description": "Lets the user pick a date", "parameters": {"type": "object"}}
VERSION = {"protocolVersion": "1.0"}


def tool(call_id: str, content: str, **more: Any) -> dict[str, Any]:
    return {"id": f"result of {call_id}", "role": "tool", "toolCallId": call_id, "content": content, **more}


@pytest.mark.front_end("tools")
async def test_a_tool_of_the_page_ends_the_run_and_its_result_goes_on() -> None:
    model = Script()
    async with served(model) as (url, driver):
        await driver.run("create", name="a", url=url, threadId="t")
        first = await driver.run("run", name="a", message=user("u1", "pick"), tools=[PICK])
        assert first["error"] is None
        assert first["events"][-1]["outcome"] == {"type": "success", "pendingToolCallIds": ["p1"]}
        there = await driver.run("read", url=f"{url}/connect", body={"threadId": "t", **VERSION})
        assert there["events"][-1]["outcome"] == {"type": "success", "pendingToolCallIds": ["p1"]}
        older = await driver.run("read", url=f"{url}/connect", body={"threadId": "t"})
        assert "outcome" not in older["events"][-1]
        second = await driver.run("run", name="a", message=tool("p1", "the 3rd"))
        assert second["error"] is None
        assert [message["role"] for message in second["messages"]] == [
            "user",
            "assistant",
            "assistant",
            "tool",
            "assistant",
        ]
        assert text_in(second["events"]) == 'Refunded: "the 3rd"'
        assert [len(request.tools) for request in model.asked] == [2, 2]
        body = {"threadId": "t", "runId": "r3", "messages": [user("u1", "pick"), tool("p1", "the 3rd")]}
        again = await driver.run("read", url=url, body=body)
        assert text_in(again["events"]) == 'Refunded: "the 3rd"'
        assert len(model.asked) == 2
        body["messages"] = [user("u1", "pick"), tool("p1", "", error="The page was closed")]
        other = await driver.run("read", url=url, body=body)
        assert "has another answer already" in other["error"]


async def test_results_and_approvals_may_come_one_by_one() -> None:
    async with served(Script()) as (url, driver):
        body = {"threadId": "t", "runId": "r1", "messages": [user("u1", "both")], "tools": [PICK], **VERSION}
        asked = await driver.run("read", url=url, body=body)
        (interrupt,) = asked["events"][-1]["outcome"]["interrupts"]
        messages = [user("u1", "both"), tool("p1", '{"day":3}')]
        part = await driver.run("read", url=url, body={**body, "runId": "r2", "messages": messages})
        assert part["error"] is None
        assert part["events"][-1]["outcome"] == {"type": "interrupt", "interrupts": [interrupt]}
        assert [event["type"] for event in part["events"]] == ["RUN_STARTED", "RUN_FINISHED"]
        answer = {**body, "runId": "r3", "resume": [{"interruptId": "call_1", "status": "resolved"}]}
        whole = await driver.run("read", url=url, body=answer)
        assert [event["content"] for event in whole["events"] if event["type"] == "TOOL_CALL_RESULT"] == [
            '{"day":3}',
            "20 euros",
        ]


async def test_a_client_from_before_1_0_is_not_told_of_the_cancelled_outcome() -> None:
    async with served(Script()) as (url, driver), httpx2.AsyncClient() as client:
        for version in ({}, VERSION):
            body = {"threadId": "t", "runId": f"r {version}", "messages": [user(f"u {version}", "long")], **version}
            running = asyncio.ensure_future(driver.run("read", url=url, body=body))
            while not running.done():
                await asyncio.sleep(0.1)
                await client.post(f"{url}/stop/t")
            events = (await running)["events"]
            assert (events[-1]["type"], events[-1].get("outcome", {}).get("type")) == (
                "RUN_FINISHED",
                "cancelled" if version else None,
            )


async def test_connections_that_break() -> None:
    """More by ``python -m tests.frontends.cuts``."""
    async with served(Script()) as (url, driver):
        found = await read_agents_over_cuts(driver, url, 5, 1)
    assert found.replies == 5
    assert found.breaks > 0


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
    ({"threadId": "t", "runId": "r", "messages": [{"role": "tool", "toolCallId": "x", "content": "y"}]}, "waits"),
    ({"threadId": "t", "runId": "r", "messages": [user("u", "x")], "tools": [{"name": "a b"}]}, "tools"),
]


async def test_what_is_refused() -> None:
    async with served(Script()) as (url, _), httpx2.AsyncClient() as client:
        for body, word in REFUSED:
            answer = await client.post(url, json=body)
            assert answer.status_code in (400, 404, 409), body
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
    replay, _ = whole(EventBatch(numbered, 0, len(events), end))
    first, following = whole(EventBatch(numbered[:cut], 0, cut))
    rest, _ = following(EventBatch(numbered[cut:], cut, len(events), end))
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
