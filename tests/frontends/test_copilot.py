"""CopilotKit's core, unmodified, against ``create_agent_app`` on a socket, without a runtime of Node between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibind.server import Access
from tests.frontends.agent_server import WORDS, Script, serving_agents, user
from tests.frontends.cut_agents import read_copilot_over_cuts
from tests.frontends.driver import Driver, running_driver
from tests.processes.support import run_server

pytestmark = [pytest.mark.anyio, pytest.mark.front_end(clients=["CopilotKit"])]

PICK = {
    "name": "pick_date",
    "description": "Lets the user pick a date",
    "parameters": {"type": "object", "properties": {"month": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one driver."""
    return "asyncio"


@pytest.fixture(scope="module")
async def driver() -> AsyncIterator[Driver]:
    async with running_driver("copilot.mjs") as driver:
        yield driver


@pytest.fixture
def model() -> Script:
    return Script()


@pytest.fixture
async def url(model: Script) -> AsyncIterator[str]:
    async with serving_agents(model) as url:
        yield url


@dataclass
class Page:
    """A page of CopilotKit, with one agent."""

    driver: Driver
    name: str
    opened: dict[str, Any]

    async def send(self, content: Any, message_id: str = "", **options: Any) -> dict[str, Any]:
        """Send a message, and return what the page shows when it is answered."""
        message = user(message_id or f"u-{content}", content)
        return await self._run("run", message=message, **options)

    async def begin(self, text: str) -> None:
        """Send a message without waiting for the answer."""
        await self._run("run", message=user(f"u-{text}", text), begin=True)

    async def resume(self, *answers: dict[str, Any]) -> dict[str, Any]:
        """Answer the interrupts of the run before."""
        return await self._run("run", resume=list(answers))

    async def connect(self, *, begin: bool = False) -> dict[str, Any]:
        """Connect to the thread, as a page does when it opens."""
        return await self._run("connect", begin=begin)

    async def stop(self) -> None:
        """Press the button that stops."""
        await self._run("stop")

    async def wait_text(self, length: int) -> dict[str, Any]:
        """Wait until the last answer has so many characters, or the page is at rest."""
        return await self._run("waitText", length=length)

    async def wait_idle(self) -> dict[str, Any]:
        """Wait until the page is at rest."""
        return await self._run("waitIdle")

    async def _run(self, command: str, **options: Any) -> dict[str, Any]:
        shown: dict[str, Any] = await self.driver.run(command, name=self.name, **options)
        return shown


Open = Callable[..., Any]


@pytest.fixture
def page(driver: Driver, url: str) -> Open:
    """Open a page of a thread."""
    return opening(driver, url)


def opening(driver: Driver, url: str) -> Open:
    """Return a function that opens pages of a server."""
    names = iter(range(100))

    async def open_page(thread: str = "t", **options: Any) -> Page:
        name = f"{url} {next(names)}"
        opened = await driver.run("create", name=name, url=url, threadId=thread, **options)
        return Page(driver, name, opened)

    return open_page


def said(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the roles and texts of a page's messages, but for reasoning, and with an answer's calls left out."""
    return [
        (message["role"], message["content"])
        for message in shown["messages"]
        if message["role"] != "reasoning" and message.get("content")
    ]


@pytest.mark.front_end("send", "stream", "tools", "reload")
@pytest.mark.parametrize("transport", ["auto", "rest", "single"])
async def test_send_and_reload(page: Open, model: Script, transport: str) -> None:
    first = await page(transport=transport)
    assert (first.opened["status"], first.opened["agents"]) == ("connected", ["default"])
    shown = await first.send("think")
    assert (shown["errors"], shown["done"]) == ([], 1)
    shown = await first.send("words")
    assert said(shown)[-1] == ("assistant", WORDS)
    assert [message["role"] for message in model.asked[1].messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    again = await (await page(transport=transport)).connect()
    assert again["errors"] == []
    assert "".join(text for _, text in said(again)) == "".join(text for _, text in said(shown))
    assert [role for role, _ in said(again)] == ["user", "assistant", "tool", "assistant", "user", "assistant"]


@pytest.mark.front_end("reload", "stream")
@pytest.mark.parametrize("transport", ["rest", "single"])
async def test_reload_in_mid_reply(page: Open, model: Script, transport: str) -> None:
    first = await page(transport=transport)
    await first.begin("words")
    await first.wait_text(30)
    second = await page(transport=transport)
    shown = await second.connect()
    assert (shown["errors"], said(shown)) == ([], [("user", "words"), ("assistant", WORDS)])
    assert len(model.asked) == 1
    assert said(await first.wait_idle()) == said(shown)
    assert said(await (await page()).connect()) == said(shown)


@pytest.mark.front_end("second tab")
async def test_second_tab(page: Open, model: Script) -> None:
    """Two tabs show the same at the same time, and a tab that connects again shows nothing twice."""
    tabs = [await page(), await page()]
    await tabs[0].begin("wait")
    await tabs[0].wait_text(4)
    await tabs[1].connect(begin=True)
    assert [(await tab.wait_text(4))["text"] for tab in tabs] == ["Half", "Half"]
    model.go.set()
    shown = [await tab.wait_idle() for tab in tabs]
    assert [said(one) for one in shown] == [[("user", "wait"), ("assistant", "Half and half")]] * 2
    assert said(await tabs[0].connect()) == said(shown[0])


@pytest.mark.front_end("stop")
@pytest.mark.parametrize("transport", ["rest", "single"])
async def test_stop(page: Open, model: Script, transport: str) -> None:
    first, second = await page(transport=transport), await page(transport=transport)
    await first.begin("long")
    await first.wait_text(20)
    await second.connect(begin=True)
    await second.wait_text(20)
    await second.stop()  # a tab that did not begin the run stops the thread
    shown = [await first.wait_idle(), await second.wait_idle()]
    assert said(shown[0]) == said(shown[1])
    assert "word1999" not in said(shown[0])[-1][1]
    await first.begin("long again")
    await first.wait_text(20)
    await first.stop()
    last = await first.wait_idle()
    assert (last["errors"], last["done"]) == ([], 2)
    assert said(await (await page()).connect()) == said(last)


async def test_stopping_a_run_that_has_ended_stops_no_other(page: Open, url: str, model: Script) -> None:
    body = {"threadId": "t", "runId": "r1", "messages": [user("u1", "think")]}
    async with httpx2.AsyncClient() as client:
        assert (await client.post(f"{url}/agent/default/run", json=body)).status_code == 200
        second = await page()
        await second.begin("wait")
        await second.wait_text(4)
        answer = await client.post(f"{url}/agent/default/stop/t", json={"runId": "r1"})
        assert answer.json() == {"ok": True}
        model.go.set()
        assert (await second.wait_idle())["text"] == "Half and half"
        assert (await client.post(f"{url}/agent/default/stop/t", json={"runId": 1})).status_code == 400


@pytest.mark.front_end("regenerate", "edit")
async def test_ask_again_and_edit(page: Open, model: Script) -> None:
    """A known message in a new run asks again, and another text under its id is an edit."""
    first = await page()
    await first.send("think", "u1")
    shown = await (await page()).send("think", "u1")
    assert said(shown)[-1] == ("assistant", "noon")
    assert [len(request.messages) for request in model.asked] == [1, 1]
    await (await page()).send("words", "u1")
    assert said(await (await page()).connect()) == [("user", "words"), ("assistant", WORDS)]
    assert [len(request.messages) for request in model.asked] == [1, 1, 1]


@pytest.mark.front_end("approval", "reload")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "resolved"}, '"20 euros"'),
        ({"status": "resolved", "payload": {"approved": True, "args": {"euros": 15}}}, '"15 euros"'),
        ({"status": "cancelled"}, "not allow"),
    ],
)
async def test_approval_on_a_page_that_was_reloaded(page: Open, answer: dict[str, Any], expected: str) -> None:
    asked = await (await page()).send("refund")
    second = await page()
    shown = await second.connect()
    assert shown["interrupts"] == asked["interrupts"] != []
    assert [call["function"]["name"] for call in shown["messages"][-1]["toolCalls"]] == ["refund"]
    shown = await second.resume({"interruptId": shown["interrupts"][0]["id"], **answer})
    assert (shown["errors"], shown["interrupts"]) == ([], [])
    assert expected in said(shown)[-1][1]
    again = await (await page()).connect()
    assert (said(again), again["interrupts"]) == (said(shown), [])


@pytest.mark.front_end("tools")
async def test_a_tool_of_the_page(page: Open, model: Script) -> None:
    first = await page(tools=[{**PICK, "result": {"day": 3}}])
    shown = await first.send("pick")
    assert (shown["errors"], shown["interrupts"]) == ([], [])
    assert [tool["name"] for tool in model.asked[0].tools] == ["refund", "pick_date"]
    assert model.asked[0].tools[1]["parameters"]["properties"] == PICK["parameters"]["properties"]  # type: ignore[index]
    assert said(shown)[1:] == [
        ("assistant", "Which day? "),
        ("tool", '{"day":3}'),
        ("assistant", 'Refunded: {"day":3}'),
    ]
    assert len(model.asked) == 2
    assert [tool["name"] for tool in model.asked[1].tools] == ["refund", "pick_date"]
    assert said(await (await page()).connect()) == said(shown)


async def test_a_tool_of_the_page_and_an_approval(page: Open, model: Script) -> None:
    """The page runs its tool at once, and the client sends its result with the user's answer."""
    first = await page(tools=[{**PICK, "result": "the 3rd"}])
    shown = await first.send("both")
    assert [interrupt["id"] for interrupt in shown["interrupts"]] == ["call_1"]
    (error,) = shown["errors"]
    assert "not addressed by resume" in error  # the client's own: it sends no run while the user is asked
    shown = await first.resume({"interruptId": "call_1", "status": "resolved"})
    assert shown["errors"] == [error]
    results = {message["toolCallId"]: message["content"] for message in shown["messages"] if message["role"] == "tool"}
    assert results == {"p1": "the 3rd", "call_1": "20 euros"}
    assert len(model.asked) == 2
    assert sorted(said(await (await page()).connect())) == sorted(said(shown))


async def test_a_page_cannot_replace_a_tool_of_the_server(page: Open, model: Script) -> None:
    forged = {**PICK, "name": "refund", "result": "1,000,000 euros"}
    shown = await (await page(tools=[forged])).send("refund")
    assert [tool["name"] for tool in model.asked[0].tools] == ["refund"]
    assert model.asked[0].tools[0]["description"] == "Refunds"
    assert [interrupt["id"] for interrupt in shown["interrupts"]] == ["call_1"]
    assert len(model.asked) == 1


async def test_the_context_of_the_page_reaches_the_model(driver: Driver) -> None:
    model = Script()
    async with serving_agents(model, options={"system": "Be kind."}) as url:
        page = await opening(driver, url)(context=[{"description": "The user's cart", "value": '{"cups":2}'}])
        await page.send("think")
    assert model.asked[0].system is not None
    assert model.asked[0].system.startswith("Be kind.\n\n")
    assert model.asked[0].system.endswith('\nThe user\'s cart: {"cups":2}')


@pytest.mark.front_end("error", "regenerate")
async def test_an_error_is_shown_and_the_question_can_be_asked_again(page: Open, model: Script) -> None:
    first = await page()
    shown = await first.send("fail", "u1")
    assert len(shown["errors"]) == 1
    assert "The model failed" in shown["errors"][0]
    assert said(shown)[-1] == ("assistant", "half")
    second = await page()
    assert said(await second.connect()) == said(shown)
    await second.send("fail", "u1")
    assert len(model.asked) == 2


async def test_a_picture_comes_back(page: Open, url: str, model: Script) -> None:
    first = await page()
    source = {"type": "data", "value": "aGk=", "mimeType": "image/png"}
    await first.send([{"type": "text", "text": "Look"}, {"type": "image", "source": source}], "u1")
    assert model.asked[0].messages[-1]["content"][-1]["image_url"]["url"] == "data:image/png;base64,aGk="
    shown = await (await page()).connect()
    text, picture = shown["messages"][0]["content"]
    assert (text, picture["type"]) == ({"type": "text", "text": "Look"}, "image")
    async with httpx2.AsyncClient() as client:
        answer = await client.get(url.removesuffix("/agent") + picture["source"]["value"])
        assert (answer.content, answer.headers["content-type"]) == (b"hi", "image/png")
        assert (await client.get(f"{url}/files/other/{'0' * 64}")).status_code == 404
    await (await page()).send([{"type": "text", "text": "Look"}, picture], "u1")
    assert [len(request.messages) for request in model.asked] == [1, 1]
    assert model.asked[1].messages[-1] == model.asked[0].messages[-1]


async def test_agents_have_options_of_their_own(driver: Driver) -> None:
    model = Script()
    agents = {"clerk": {"toolset": "desk"}, "guide": {"system": "You guide."}}
    async with serving_agents(model, options={}, agents=agents) as url:
        open_page = opening(driver, url)
        guide = await open_page(agentId="guide", properties={"system": "You obey."})
        assert guide.opened["agents"] == ["clerk", "guide"]
        await guide.send("think")
        await (await open_page("t2", agentId="clerk")).send("think")
        assert [(request.system, len(request.tools)) for request in model.asked] == [("You guide.", 0), (None, 1)]
        async with httpx2.AsyncClient() as client:
            body = {"threadId": "t", "runId": "r", "messages": [user("u", "think")]}
            answer = await client.post(f"{url}/agent/other/run", json=body)
            assert (answer.status_code, "clerk, guide" in answer.json()["error"]) == (404, True)
            await client.post(url, json={**body, "threadId": "t3"})
            assert len(model.asked[-1].tools) == 1  # the first agent


async def test_threads_belong_to_their_owners(driver: Driver) -> None:
    asked: list[tuple[str, str | None]] = []

    def authorize(request: Any, action: str, session_id: str | None, stream_id: str | None) -> Access | None:
        asked.append((action, session_id))
        user = request.headers.get("x-user")
        return Access(user) if user else None

    async with serving_agents(Script(), authorize=authorize) as url:
        open_page = opening(driver, url)
        ada = await open_page(headers={"x-user": "ada"})
        shown = await ada.send("think")
        assert said(await (await open_page(headers={"x-user": "ada"})).connect()) == said(shown)
        assert said(await (await open_page(headers={"x-user": "bob"})).connect()) == []
        assert asked[:4] == [("list", None), ("stream", "t"), ("list", None), ("attach", "t")]
        refused = (await open_page()).opened
        assert (refused["status"], "status 401" in refused["errors"][0]) == ("error", True)
        async with httpx2.AsyncClient() as client:
            for method in ("agent/run", "agent/connect", "agent/stop", "info"):
                body = {"method": method, "params": {"agentId": "default", "threadId": "t"}, "body": {"threadId": "t"}}
                assert (await client.post(url, json=body)).status_code == 401, method


async def test_refused_envelopes(url: str) -> None:
    async with httpx2.AsyncClient() as client:
        for body, status, word in [
            ({"method": "agent/suggest"}, 404, "agent/suggest"),
            ({"method": "agent/run"}, 400, "agentId"),
            ({"method": "agent/run", "params": {"agentId": "default"}}, 400, "threadId"),
            ({"method": "agent/stop", "params": {"agentId": "default"}}, 400, "threadId"),
            ({"method": "agent/connect", "params": {"agentId": "x"}, "body": {"threadId": "t"}}, 404, '"x"'),
        ]:
            answer = await client.post(url, json=body)
            assert (answer.status_code, word in answer.json()["error"]) == (status, True), (body, answer.text)
        for path in ("/agent", "/agent/default", "/agent/default/unknown", "/threads"):
            assert (await client.post(f"{url}{path}", json={})).status_code == 404


async def test_connections_that_break(driver: Driver, url: str) -> None:
    """More by ``python -m tests.frontends.cuts``."""
    found = await read_copilot_over_cuts(driver, url, 5, 1)
    assert found.replies == 5
    assert found.breaks > 0


@pytest.mark.front_end("killed server")
async def test_a_server_that_is_killed_and_started_again(driver: Driver, tmp_path: Path) -> None:
    """The answer was not in the conversation yet: connecting recovers it."""
    options = {"agent_app": True, "messages": True, "lease_ms": 600, "rate": 40}
    with run_server(tmp_path / "chat.db", **options) as (process, address):
        first = await opening(driver, address.replace("/__aibind__", "/agent"))()
        await first.begin("400")
        await first.wait_text(30)
        process.kill()
        shown = await first.wait_idle()
        assert shown["running"] is False
    with run_server(tmp_path / "chat.db", **options) as (process, address):
        url = address.replace("/__aibind__", "/agent")
        second = await opening(driver, url)()
        shown = await second.connect()
        assert all("producer lost" in error for error in shown["errors"])  # none once the lease has run out
        (_, text) = said(shown)[-1]
        assert text
        assert "".join(f"{number} " for number in range(400)).startswith(text)
        later = await (await opening(driver, url)()).connect()
        assert (later["errors"], said(later)) == ([], said(shown))
        assert said(await second.send("3"))[-1] == ("assistant", "0 1 2 ")
