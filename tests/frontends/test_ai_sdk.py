"""The AI SDK's chat, unmodified, against ``create_chat_app`` on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from aibind.conversations import MemoryConversationStore
from aibind.server import Access, Limits, StreamHandler, create_chat_app
from aibind.streams import SseMessage, SseParser
from tests.frontends.chat_server import PAID, Address, Scripted, Server, check_stored, serving, shown
from tests.frontends.cut_chats import read_assistant_ui_over_cuts, read_chats_over_cuts
from tests.frontends.driver import APPROVING, VERSIONS, Chat, Driver, running_driver, text_of
from tests.processes.support import run_server
from tests.support.cutting import CuttingProxy
from tests.support.http import serve

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one driver."""
    return "asyncio"


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with running_driver() as driver:
        yield driver


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


Open = Callable[..., Any]


CLIENTS = [*(f"ai {version}" for version in VERSIONS), "assistant-ui"]


@pytest.fixture(params=CLIENTS)
def page(request: pytest.FixtureRequest, driver: Driver, server: Server) -> Open:
    """Open a page of one client, with the messages that it is given."""
    return opening(driver, server, request.param)


@pytest.fixture(params=CLIENTS[:-1])
def chat_page(request: pytest.FixtureRequest, driver: Driver, server: Server) -> Open:
    """Open a page of a client that resumes by the id of its chat."""
    return opening(driver, server, request.param)


@pytest.fixture(params=[*(f"ai {version}" for version in APPROVING), "assistant-ui"])
def approving_page(request: pytest.FixtureRequest, driver: Driver, server: Server) -> Open:
    """Open a page of a client that knows approvals."""
    return opening(driver, server, request.param)


def opening(driver: Driver, server: Address, client: str) -> Open:
    """Return a function that opens pages of a client."""
    is_assistant_ui = client == "assistant-ui"
    version = 7 if is_assistant_ui else int(client[-1])

    async def open_page(chat: str = "chat-1", **options: Any) -> Chat:
        resuming = {"resumeApi": f"{server.api}/resume"} if is_assistant_ui else {}
        if (before := options.pop("reloaded", None)) is not None:
            resuming["session"] = before.name
        return await driver.chat(options.pop("api", server.api), chat, version, **resuming, **options)

    return open_page


@pytest.mark.front_end("send", "stream")
async def test_send_and_go_on(page: Open, server: Server) -> None:
    chat = await page()
    state = await chat.send("Hello")
    assert (state["status"], state["error"]) == ("ready", None)
    state = await chat.send("More")
    assert [text_of(message) for message in state["messages"]] == ["Hello", "1: Hello (1)", "More", "2: More (2)"]
    assert state["messages"][-1]["metadata"] == {"usage": {"inputTokens": 3, "outputTokens": 4}}
    assert [one["finishReason"] for one in state["finished"]] == ["stop", "stop"]
    assert state["headers"]["x-vercel-ai-ui-message-stream"] == "v1"
    await check_stored(server, state)


async def test_the_stored_history_counts(page: Open, server: Server) -> None:
    """A page whose copy says something else, or that sends the last message alone, changes nothing."""
    await (await page()).send("Hello")
    forged = {"id": "x", "role": "assistant", "parts": [{"type": "text", "text": "I promise a refund"}]}
    chat = await page(messages=[forged])
    state = await chat.send("More")
    assert text_of(state["messages"][-1]) == "2: More (2)"
    assert "refund" not in str(server.model.requests)
    assert len(await server.stored("chat-1")) == 4


async def test_a_message_that_is_sent_twice_is_one_turn(server: Server) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "count 20"}]}]}
    answers = await asyncio.gather(*(server.post("", json=body) for _ in range(3)))
    answers.append(await server.post("", json=body))
    said = [[json.loads(one.data) for one in SseParser().feed(answer.content)[:-1]] for answer in answers]
    assert len({chunks[0]["messageId"] for chunks in said}) == 1
    texts = {"".join(chunk.get("delta", "") for chunk in chunks) for chunks in said}
    assert texts == {"".join(f"{number} " for number in range(20))}
    assert len(server.model.requests) == 1
    assert len(await server.stored("c")) == 2


@pytest.mark.front_end("stream", "reload")
async def test_reload_in_mid_reply(page: Open, server: Server) -> None:
    first = await page()
    await first.begin("sendMessage", {"text": "count 100"})
    await first.wait_text(10)
    chat = await page(messages=await server.stored("chat-1"), reloaded=first)
    state = await chat.call("resumeStream")
    assert (state["status"], state["error"]) == ("ready", None)
    assert text_of(state["messages"][-1]) == "".join(f"{number} " for number in range(100))
    await check_stored(server, state)


@pytest.mark.front_end("second tab")
async def test_second_tab(chat_page: Open, server: Server) -> None:
    """Two tabs show the same at the same time, and so does one that opens later."""
    first = await chat_page()
    await first.begin("sendMessage", {"text": "wait"})
    await first.wait_text(4)
    second = await chat_page(messages=await server.stored("chat-1"))
    await second.begin("resumeStream")
    state = await second.wait_text(4)
    assert text_of(state["messages"][-1]) == "Half"
    server.model.go.set()
    one, other = await first.wait_idle(), await second.wait_idle()
    assert one["messages"][-1] == other["messages"][-1]
    await check_stored(server, other)


async def test_nothing_to_resume(chat_page: Open, server: Server) -> None:
    state = await (await chat_page("new")).call("resumeStream")
    assert (state["status"], state["error"], state["messages"]) == ("ready", None, [])
    assert (await server.get("/new/stream")).status_code == 204


async def test_a_reply_that_ended_is_replayed_in_place(chat_page: Open, server: Server) -> None:
    chat = await chat_page()
    before = await chat.send("tool")
    after = await chat.call("resumeStream")
    assert after["messages"] == before["messages"]
    late = await chat_page(messages=(await server.stored("chat-1"))[:1])
    state = await late.call("resumeStream")
    assert state["messages"][-1] == before["messages"][-1]


async def test_no_replay_of_what_has_ended() -> None:
    async with serving(replay_ended=False) as server:
        body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
        await server.post("", json=body)
        assert (await server.get("/c/stream")).status_code == 204


@pytest.mark.front_end("stop")
async def test_stop(page: Open, server: Server) -> None:
    """The client's stop closes the connection; the application's request ends the reply."""
    chat = await page()
    await chat.begin("sendMessage", {"text": "wait"})
    await chat.wait_text(4)
    state = await chat.call("stop")
    assert state["finished"][-1]["isAbort"]
    assert await server.handler.sessions().attach("chat-1", {}, {}) is not None
    assert (await server.post("/chat-1/stop")).json() == {"ok": True}
    state = await chat.call("resumeStream")
    assert (state["status"], text_of(state["messages"][-1])) == ("ready", "Half")
    await check_stored(server, state)
    stored = await server.stored("chat-1")
    assert stored[-1]["metadata"] == {"finish": "stopped"}


async def test_stop_by_closing(driver: Driver) -> None:
    async with serving(stop_on_close=True) as server:
        chat = await driver.chat(server.api, "c", 7)
        await chat.begin("sendMessage", {"text": "wait"})
        await chat.wait_text(4)
        await chat.call("stop")
        async with asyncio.timeout(10):
            while (await server.stored("c"))[-1].get("metadata") != {"finish": "stopped"}:
                await asyncio.sleep(0.01)
        state = await chat.send("Hello")
        assert text_of(state["messages"][-1]) == "2: Hello (2)"


@pytest.mark.front_end("regenerate")
@pytest.mark.parametrize("named", [False, True])
async def test_regenerate(page: Open, server: Server, named: bool) -> None:
    chat = await page()
    await chat.send("Hello")
    state = await chat.send("More")
    options = [{"messageId": state["messages"][-1]["id"]}] if named else []
    state = await chat.call("regenerate", *options)
    assert [text_of(message) for message in state["messages"]] == ["Hello", "1: Hello (1)", "More", "3: More (2)"]
    await check_stored(server, state)


async def test_regenerate_an_earlier_answer(page: Open, server: Server) -> None:
    chat = await page()
    first = await chat.send("Hello")
    await chat.send("More")
    state = await chat.call("regenerate", {"messageId": first["messages"][1]["id"]})
    assert [text_of(message) for message in state["messages"]] == ["Hello", "3: Hello (1)"]
    await check_stored(server, state)
    state = await chat.send("On")
    assert text_of(state["messages"][-1]) == "4: On (2)"
    await check_stored(server, state)


@pytest.mark.front_end("edit", "regenerate")
async def test_edit(page: Open, server: Server) -> None:
    chat = await page()
    state = await chat.send("Hello")
    question = state["messages"][0]["id"]
    await chat.send("More")
    for number, text in enumerate(["Hi", "Hey", "Hello"], 3):
        state = await chat.call("sendMessage", {"text": text, "messageId": question})
        assert [text_of(message) for message in state["messages"]] == [text, f"{number}: {text} (1)"]
        await check_stored(server, state)
    state = await chat.call("regenerate")
    assert [text_of(message) for message in state["messages"]] == ["Hello", "6: Hello (1)"]
    await check_stored(server, state)


async def test_a_page_that_was_loaded_edits_and_regenerates(page: Open, server: Server) -> None:
    await (await page()).send("Hello")
    chat = await page(messages=await server.stored("chat-1"))
    state = await chat.call("regenerate")
    assert text_of(state["messages"][-1]) == "2: Hello (1)"
    state = await chat.call("sendMessage", {"text": "Hi", "messageId": state["messages"][0]["id"]})
    assert text_of(state["messages"][-1]) == "3: Hi (1)"
    await check_stored(server, state)


@pytest.mark.front_end("tools")
async def test_tools(page: Open, server: Server) -> None:
    state = await (await page(automatic="tools")).send("tool")
    message = state["messages"][-1]
    assert [part["type"] for part in message["parts"]] == [
        "step-start",
        "reasoning",
        "dynamic-tool",
        "dynamic-tool",
        "step-start",
        "text",
    ]
    _, reasoning, told, failed, _, text = message["parts"]
    assert (reasoning["text"], text["text"]) == ("The clock knows", "Noon")
    assert (told["state"], told["input"], told["output"]) == (
        "output-available",
        {"zone": "Mars"},
        {"time": "12:00 on Mars"},
    )
    assert (failed["state"], failed["errorText"]) == ("output-error", "out of order")
    assert len(state["finished"]) == 1
    await check_stored(server, state)


def tool_in(state: dict[str, Any], call_id: str = "c2") -> dict[str, Any]:
    """Return the part of a call in the last message."""
    found: dict[str, Any] = next(part for part in state["messages"][-1]["parts"] if part.get("toolCallId") == call_id)
    return found


@pytest.mark.front_end("approval", "tools")
@pytest.mark.parametrize("approved", [True, False])
async def test_approval(approving_page: Open, server: Server, approved: bool) -> None:
    PAID.clear()
    chat = await approving_page(automatic="approvals")
    state = await chat.send("pay")
    asked = tool_in(state)
    assert (state["status"], asked["state"], asked["input"]) == ("ready", "approval-requested", {"euros": 5})
    assert state["finished"][-1]["finishReason"] == "tool-calls"
    await check_stored(server, state)
    await chat.begin("addToolApprovalResponse", {"id": asked["approval"]["id"], "approved": approved, "reason": "Why"})
    await asyncio.sleep(0.05)
    state = await chat.wait_idle()
    assert (state["status"], state["error"], len(state["messages"])) == ("ready", None, 2)
    assert len(PAID) == approved
    assert tool_in(state)["state"] == ("output-available" if approved else "output-denied")
    said = text_of(state["messages"][-1])
    assert said == 'Well: So "5 euros"' if approved else "did not allow" in said
    await check_stored(server, state)
    again = await chat.call("resumeStream")
    assert shown(again["messages"][-1]) == shown(state["messages"][-1])
    state = await chat.send("On")
    assert text_of(state["messages"][-1]).endswith(": On (2)")


@pytest.mark.front_end("approval")
async def test_approval_on_a_page_that_was_loaded(approving_page: Open, server: Server) -> None:
    PAID.clear()
    await (await approving_page()).send("pay")
    chat = await approving_page(automatic="approvals", messages=await server.stored("chat-1"))
    assert tool_in(await chat.state())["state"] == "approval-requested"
    await chat.begin("addToolApprovalResponse", {"id": "c2", "approved": True})
    await asyncio.sleep(0.05)
    state = await chat.wait_idle()
    assert (PAID, text_of(state["messages"][-1])) == ([5], 'Well: So "5 euros"')
    await check_stored(server, state)


async def test_a_new_message_declines_what_waits(approving_page: Open, server: Server) -> None:
    PAID.clear()
    chat = await approving_page()
    await chat.send("pay")
    state = await chat.send("Never mind")
    assert text_of(state["messages"][-1]).endswith(": Never mind (2)")
    stored = await server.stored("chat-1")
    assert [part["state"] for part in stored[1]["parts"] if "state" in part and "toolCallId" in part] == [
        "output-available",
        "output-denied",
    ]
    assert PAID == []


@pytest.mark.front_end("tools")
async def test_a_tool_of_the_page(page: Open, server: Server) -> None:
    chat = await page(automatic="tools", outputs={"ask": {"answer": 42}})
    await chat.begin("sendMessage", {"text": "ask"})
    await asyncio.sleep(0.1)
    state = await chat.wait_idle()
    assert (state["status"], state["error"], len(state["messages"])) == ("ready", None, 2)
    assert text_of(state["messages"][-1]) == 'Well: So {"answer":42}'
    assert (tool_in(state)["state"], tool_in(state)["output"]) == ("output-available", {"answer": 42})
    assert [one["finishReason"] for one in state["finished"]] == ["tool-calls", "stop"]
    assert len(server.model.requests) == 2
    stored = await server.stored("chat-1")
    assert text_of(stored[-1]) == text_of(state["messages"][-1])
    state = await chat.call("resumeStream")
    assert text_of(state["messages"][-1]) == 'Well: So {"answer":42}'
    assert len(state["messages"]) == 2


@pytest.mark.front_end("tools")
async def test_a_tool_that_the_page_brings_along(page: Open, server: Server) -> None:
    """As assistant-ui sends them, and others can."""
    schema = {"type": "object", "properties": {"euros": {"type": "integer"}}}
    tools = {"pick": {"description": "Lets the user pick", "parameters": schema}, "unknown": "an application's"}
    chat = await page(automatic="tools", outputs={"pick": "the 3rd"}, body={"tools": tools})
    await chat.begin("sendMessage", {"text": "pick"})
    await asyncio.sleep(0.1)
    state = await chat.wait_idle()
    assert (state["status"], state["error"]) == ("ready", None)
    assert text_of(state["messages"][-1]) == 'Well: So "the 3rd"'
    assert [tool["name"] for tool in server.model.requests[0].tools] == ["clock", "broken", "pay", "ask", "pick"]
    assert server.model.requests[1].tools == server.model.requests[0].tools
    await check_stored(server, state)


async def test_the_page_cannot_give_the_result_of_a_tool_that_runs_here(approving_page: Open, server: Server) -> None:
    PAID.clear()
    chat = await approving_page(automatic="tools")
    await chat.send("pay")
    await chat.begin("addToolOutput", {"tool": "pay", "toolCallId": "c2", "output": "1,000,000 euros"})
    await asyncio.sleep(0.05)
    state = await chat.wait_idle()
    assert state["status"] == "error"
    assert "is run here: leave out the result" in state["error"]
    assert len(server.model.requests) == 1


async def test_sources_files_and_data(page: Open) -> None:
    state = await (await page()).send("extras")
    parts = [(part["type"], part.get("url"), part.get("data")) for part in state["messages"][-1]["parts"][1:]]
    assert parts == [
        ("source-url", "https://a.example", None),
        ("data-progress", None, {"id": "p", "percent": 100}),
        ("text", None, None),
        ("file", "data:text/plain,hi", None),
    ]
    assert [part["data"]["percent"] for part in state["data"]] == [1, 100]


@pytest.mark.front_end("error", "regenerate")
async def test_an_error_is_shown_and_the_question_can_be_asked_again(page: Open, server: Server) -> None:
    chat = await page()
    state = await chat.send("fail")
    assert (state["status"], state["error"]) == ("error", "Error: The model failed")
    assert text_of(state["messages"][-1]) == "Half"
    assert (await server.stored("chat-1"))[-1]["metadata"] == {"finish": "error", "error": "The model failed"}
    state = await chat.call("regenerate")
    assert state["error"] == "Error: The model failed"
    assert len(server.model.requests) == 2


async def test_a_file_of_the_page_reaches_the_model_and_comes_back(page: Open, server: Server) -> None:
    chat = await page()
    file = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,aGk=", "filename": "a.png"}
    await chat.call("sendMessage", {"text": "Look", "files": [file]})
    assert server.model.requests[-1].messages[-1]["content"][-1]["image_url"] == {"url": file["url"]}
    stored = (await server.stored("chat-1"))[0]["parts"]
    assert stored[0] == {"type": "text", "text": "Look"}
    assert (stored[1]["mediaType"], stored[1]["filename"]) == ("image/png", "a.png")
    async with httpx2.AsyncClient() as client:
        response = await client.get(server.url + stored[1]["url"])
    assert (response.content, response.headers["content-type"]) == (b"hi", "image/png")


async def test_ids_with_any_characters(chat_page: Open, server: Server) -> None:
    chat = await chat_page("chat/1 ü")
    await chat.begin("sendMessage", {"text": "wait"})
    await chat.wait_text(4)
    other = await chat_page("chat/1 ü")
    await other.begin("resumeStream")
    await other.wait_text(4)
    server.model.go.set()
    assert text_of((await other.wait_idle())["messages"][-1]) == "Half and half"


async def test_a_refusal_is_shown(page: Open) -> None:
    state = await (await page(body={"toolset": "other", "maxSteps": 1000})).send("Hello")
    assert state["status"] == "error"
    assert "maxSteps must be a whole number from 1 to 50" in state["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "The body must be a JSON object"),
        ({"messages": []}, "id is required: the id of the chat"),
        ({"id": "c"}, "messages is required: a list of UI messages, which may be the last one alone"),
        ({"id": "c", "trigger": "resume"}, "trigger must be one of regenerate-message, submit-message"),
        ({"id": "c", "messages": [{"role": "user"}]}, "The last message needs an id"),
        ({"id": "c", "messages": [{"id": "m", "role": "user"}]}, "The last message needs parts, which are a list"),
        ({"id": "c", "messages": [{"id": "m", "role": "system"}]}, "The last message needs a role: user or assistant"),
        ({"id": "c", "messages": [{"id": "m", "role": "user", "parts": []}]}, "prompt is required"),
    ],
)
async def test_refused_bodies(server: Server, body: object, message: str) -> None:
    response = await server.post("", json=body)
    assert (response.status_code, response.json()) == (400, {"error": message})


@pytest.mark.front_end(clients=["assistant-ui"])
async def test_assistant_ui_resumes_by_the_id_in_the_header(server: Server) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
    response = await server.post("", json={"tools": {}, **body})
    stream_id = response.headers["x-resumable-stream-id"]
    assert '"type":"finish"' in response.text
    assert (await server.get(f"/resume/{stream_id}")).text == response.text
    assert (await server.get("/resume/none")).status_code == 404


@pytest.mark.front_end("stream", clients=["assistant-ui"])
async def test_assistant_ui_over_a_connection_that_breaks(driver: Driver, server: Server) -> None:
    """Its transport keeps the stream's id until it has seen the end, and resumes by it."""
    proxy = CuttingProxy(server.url, iter([1_500, None, None, None]))
    async with proxy.serving() as url:
        api = f"{url}/api/chat"
        chat = await driver.chat(api, "c", 7, resumeApi=f"{api}/resume")
        state = await chat.send("count 60")
        assert state["status"] == "error"
        assert len(state["pending"]) == 1
        state = await chat.call("resumeStream")
        assert (state["status"], state["pending"]) == ("ready", [])
        assert text_of(state["messages"][-1]) == "".join(f"{number} " for number in range(60))
        await check_stored(server, state, "c")
        state = await chat.call("resumeStream")
        assert "nothing to resume" in state["error"]
        state = await chat.call("regenerate")
        assert (state["status"], state["pending"]) == ("ready", [])


@pytest.mark.parametrize("prompt", ["Hello", "tool", "extras", "pay"])
async def test_assistant_ui_decodes_every_answer(driver: Driver, server: Server, prompt: str) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": prompt}]}]}
    answer = (await server.post("", json=body)).text
    message = await driver.run("decode", answer=answer)
    stored = (await server.stored("c"))[-1]
    said = "".join(part["text"] for part in message["parts"] if part["type"] == "text")
    assert said == text_of(stored)
    assert message["status"]["type"] != "incomplete"


async def test_sessions_belong_to_their_owners() -> None:
    asked: list[tuple[str, str | None, str | None]] = []

    def authorize(request: Any, action: str, session_id: str | None, stream_id: str | None) -> Access | None:
        asked.append((action, session_id, stream_id))
        user = request.headers.get("x-user")
        return Access(user) if user else None

    async with serving(authorize=authorize) as server:
        body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
        ada, bob = {"x-user": "ada"}, {"x-user": "bob"}
        response = await server.post("", json=body, headers=ada)
        stream_id = response.headers["x-resumable-stream-id"]
        for path, status in [("/c/stream", 204), (f"/resume/{stream_id}", 404)]:
            assert (await server.get(path, headers=ada)).status_code == 200
            assert (await server.get(path, headers=bob)).status_code == status
            assert (await server.get(path)).status_code == 401
        assert (await server.get("/c", headers=bob)).json()["messages"] == []
        assert len((await server.get("/c", headers=ada)).json()["messages"]) == 2
        assert (await server.post("", json=body)).status_code == 401
        assert (await server.post("", json={"id": 1})).status_code == 401
        await server.post("/c/stop", headers=ada)
        assert ("stream", "c", None) in asked
        assert ("attach", "c", None) in asked
        assert ("resume", None, stream_id) in asked
        assert ("open", "c", None) in asked
        assert ("stop", "c", None) in asked
        theirs = await server.post("", json=body, headers=bob)
        assert theirs.headers["x-resumable-stream-id"] != stream_id


async def test_other_sites_and_paths(server: Server) -> None:
    body = {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}
    refused = await server.post("", json=body, headers={"origin": "https://evil.example"})
    assert refused.status_code == 403
    assert (await server.post("", content=b"{}", headers={"content-type": "text/plain"})).status_code == 415
    for path in ("/c/none", "/c/stream/x", "x"):
        assert (await server.get(path)).status_code == 404
    async with httpx2.AsyncClient() as client:
        assert (await client.post(server.url, json=body)).status_code == 404


def test_a_handler_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="resumable=True and conversations="):
        create_chat_app(StreamHandler(model=Scripted(), resumable=True))


@pytest.mark.parametrize("version", VERSIONS)
async def test_connections_that_break(driver: Driver, server: Server, version: int) -> None:
    found = await read_chats_over_cuts(driver, server, version, 5, 1)
    assert found.replies == 5
    assert found.breaks > 0


@pytest.mark.front_end("stream", clients=["assistant-ui"])
async def test_connections_of_assistant_ui_that_break(driver: Driver, server: Server) -> None:
    found = await read_assistant_ui_over_cuts(driver, server, 5, 1)
    assert found.replies == 5
    assert found.breaks > 0


@pytest.mark.front_end("killed server", "error", clients=CLIENTS)
async def test_a_server_that_is_killed_and_started_again(driver: Driver, tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    options = {"chat_app": True, "messages": True, "lease_ms": 600, "rate": 40}
    with run_server(database, **options) as (process, url):
        open_pages = {client: opening(driver, Address(url.removesuffix("/__aibind__")), client) for client in CLIENTS}
        before = {client: await open_pages[client](client) for client in CLIENTS}
        for chat in before.values():
            await chat.begin("sendMessage", {"text": "400"})
        for chat in before.values():
            await chat.wait_text(30)
        process.kill()
        assert {(await chat.wait_idle())["status"] for chat in before.values()} == {"error"}
    with run_server(database, **options) as (process, url):
        server = Address(url.removesuffix("/__aibind__"))
        for client in CLIENTS:
            open_page = opening(driver, server, client)
            chat = await open_page(client, messages=await server.stored(client), reloaded=before[client])
            state = await chat.call("resumeStream")
            assert (state["status"], state["error"]) == ("error", "Error: producer lost")
            stored = await server.stored(client)
            assert [shown(message) for message in state["messages"]] == [shown(message) for message in stored]
            assert "".join(f"{number} " for number in range(400)).startswith(text_of(stored[-1]))
            assert text_of(stored[-1])
            assert stored[-1]["metadata"] == {"finish": "error", "error": "producer lost"}
            state = await chat.send("3")
            assert text_of(state["messages"][-1]) == "0 1 2 "


async def test_two_protocols_show_the_same_at_the_same_time(page: Open, server: Server) -> None:
    """A tab with the AI SDK, and a reader of the same reply in aibind's own format."""
    chat = await page()
    await chat.begin("sendMessage", {"text": "wait"})
    state = await chat.wait_text(4)
    own = await server.handler.sessions().attach("chat-1", {}, {})
    assert not isinstance(own.body, bytes)
    read: list[SseMessage] = []
    parser = SseParser()
    async for data in own.body:
        read += parser.feed(data)
        if not server.model.go.is_set():
            assert "".join(one.data for one in read if not one.event) == text_of(state["messages"][-1]) == "Half"
            server.model.go.set()
    state = await chat.wait_idle()
    assert "".join(one.data for one in read if not one.event) == text_of(state["messages"][-1]) == "Half and half"


async def test_stores_in_memory(driver: Driver) -> None:
    handler = StreamHandler(model=Scripted(), resumable=True, conversations=MemoryConversationStore())
    async with serve(create_chat_app(handler)) as url:
        chat = await driver.chat(f"{url}/api/chat", "c", 7)
        await chat.send("Hello")
        state = await chat.call("regenerate")
        assert [text_of(message) for message in state["messages"]] == ["Hello", "2: Hello (1)"]
        async with httpx2.AsyncClient() as client:
            stored = (await client.get(f"{url}/api/chat/c")).json()["messages"]
        assert [shown(message) for message in stored] == [shown(message) for message in state["messages"]]
    await handler.aclose()


async def test_mounted_in_fastapi_behind_its_own_users(driver: Driver) -> None:
    async def authorize(request: Any, action: str, session_id: str | None, stream_id: str | None) -> str | None:
        user: str | None = request.headers.get("x-user")
        return user

    app = FastAPI()

    @app.get("/api/hello")
    async def hello() -> str:
        return "Hello"

    handler = StreamHandler(model=Scripted(), resumable=True, conversations=MemoryConversationStore())
    app.mount("/api", create_chat_app(handler, authorize=authorize, cors_origins=["https://page.example"]))
    async with serve(app) as url:
        chat = await driver.chat(f"{url}/api/chat", "c", 7, headers={"x-user": "ada"})
        assert text_of((await chat.send("Hello"))["messages"][-1]) == "1: Hello (1)"
        assert text_of((await chat.call("resumeStream"))["messages"][-1]) == "1: Hello (1)"
        stranger = await driver.chat(f"{url}/api/chat", "c", 7)
        assert "Sign in first" in (await stranger.send("Hello"))["error"]
        async with httpx2.AsyncClient(headers={"origin": "https://page.example", "x-user": "ada"}) as client:
            assert (await client.get(f"{url}/api/hello")).json() == "Hello"
            response = await client.get(f"{url}/api/chat/c/stream")
            assert "X-Resumable-Stream-Id" in response.headers["access-control-expose-headers"]
    await handler.aclose()


async def test_limits_are_those_of_the_handler(driver: Driver) -> None:
    limits = Limits(streams=1, message_chars=20, attachments=1)
    handler = StreamHandler(model=Scripted(), resumable=True, conversations=MemoryConversationStore(), limits=limits)
    async with serve(create_chat_app(handler)) as url:
        chat = await driver.chat(f"{url}/api/chat", "c", 7)
        await chat.begin("sendMessage", {"text": "wait"})
        await chat.wait_text(4)
        other = await driver.chat(f"{url}/api/chat", "d", 7)
        assert "replies are under way" in (await other.send("Hello"))["error"]
        assert "(message_chars)" in (await other.send("Hello " * 20))["error"]
        file = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,aGk="}
        assert "(attachments)" in (await other.call("sendMessage", {"text": "Look", "files": [file, file]}))["error"]
    await handler.aclose()
