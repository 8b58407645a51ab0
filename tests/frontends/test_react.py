"""A React page with useChat, in Chromium: reloaded in mid-reply, in two tabs, stopped, and allowing a call."""

from __future__ import annotations

import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from aibind.conversations import MemoryConversationStore
from aibind.server import StreamHandler, create_chat_app
from testbed.node import install_packages
from tests.demo.conftest import OPTIONS, find_chromium
from tests.frontends.chat_server import PAID, TOOLS, Scripted
from tests.frontends.driver import FOLDER
from tests.processes.support import run_server
from tests.support.cutting import CuttingProxy, every
from tests.support.http import serve

pytestmark = [pytest.mark.anyio, pytest.mark.front_end(clients=["useChat in Chromium"])]

HTML = '<!doctype html><meta charset="utf-8"><title>Chat</title><div id="root"></div><script type="module">{}</script>'
ALL = "".join(f"{number} " for number in range(150)).strip()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Run all tests of this module in one event loop, with one browser."""
    return "asyncio"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's script."""
    modules = install_packages(FOLDER, "the chat clients of the tests")
    file = tmp_path_factory.mktemp("page") / "page.js"
    options = ["--bundle", "--format=esm", "--jsx=automatic", "--minify", "--log-level=error", f"--outfile={file}"]
    subprocess.run([str(modules / ".bin/esbuild"), str(FOLDER / "page.jsx"), *options], check=True)
    return Path(file).read_text(encoding="utf-8").replace("</script", "<\\/script")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        yield launched
        await launched.close()


@pytest.fixture
async def served(bundle: str) -> AsyncIterator[tuple[str, Scripted]]:
    async def page(request: Any) -> HTMLResponse:
        del request
        return HTMLResponse(HTML.replace("{}", bundle))

    model = Scripted()
    handler = StreamHandler(
        model=model, resumable=True, conversations=MemoryConversationStore(), toolsets={"all": TOOLS}
    )
    app = create_chat_app(handler, options={"toolset": "all"})
    async with serve(Starlette(routes=[Route("/", page), Mount("/api", app)])) as url:
        yield f"{url}/?chat=one", model
        await handler.aclose()


async def say(page: Page, text: str) -> None:
    """Send a message."""
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


@pytest.mark.front_end("send", "stream", "reload", "second tab")
async def test_reload_and_second_tab(browser: Browser, served: tuple[str, Scripted]) -> None:
    url, model = served
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    await say(page, "count 150")
    answer = page.locator(".assistant")
    await expect(answer).to_contain_text("5 ")
    await page.reload()
    other = await context.new_page()
    await other.goto(url)
    await expect(other.locator(".assistant")).to_contain_text("9 ")
    for one in (page, other):
        await expect(one.locator(".assistant")).to_have_text(ALL, timeout=20_000)
        await expect(one.locator("main")).to_have_attribute("data-status", "ready")
        await expect(one.locator("p")).to_have_count(2)
    assert len(model.requests) == 1
    await context.close()


@pytest.mark.front_end("stop", "regenerate", "tools", "approval", "error", "edit")
async def test_stop_again_and_allow(browser: Browser, served: tuple[str, Scripted]) -> None:
    url, model = served
    PAID.clear()
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    await say(page, "wait")
    await expect(page.locator(".assistant")).to_have_text("Half")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("main")).to_have_attribute("data-status", "ready")
    model.go.set()
    await page.get_by_role("button", name="Again").click()
    await expect(page.locator(".assistant")).to_have_text("Half and half")
    await say(page, "pay")
    await expect(page.locator("em").last).to_contain_text("approval-requested")
    await page.reload()
    await page.get_by_role("button", name="Allow").click()
    await expect(page.locator(".assistant").last).to_contain_text('So "5 euros"')
    await expect(page.locator("em").last).to_contain_text("output-available")
    await say(page, "fail")
    await expect(page.get_by_role("alert")).to_have_text("The model failed")
    assert PAID == [5]
    await page.get_by_label("Message").fill("Hello")
    await page.get_by_role("button", name="Edit").click()
    await expect(page.locator(".assistant").last).to_contain_text(": Hello (3)")
    await expect(page.get_by_role("alert")).to_have_count(0)
    await page.reload()
    await expect(page.locator(".assistant").last).to_contain_text(": Hello (3)")
    await context.close()


@pytest.mark.front_end("killed server")
async def test_a_server_that_is_killed_and_started_again(browser: Browser, bundle: str, tmp_path: Path) -> None:
    options = {"chat_app": True, "messages": True, "lease_ms": 600, "rate": 40}
    context = await browser.new_context()
    page = await context.new_page()

    async def document(route: Any) -> None:
        await route.fulfill(content_type="text/html", body=HTML.replace("{}", bundle))

    await page.route("**/?chat=one", document)
    with run_server(tmp_path / "chat.db", **options) as (process, address):
        await page.goto(f"{address.removesuffix('/__aibind__')}/?chat=one")
        await say(page, "400")
        await expect(page.locator(".assistant")).to_contain_text("9 ")
        process.kill()
        await expect(page.locator("main")).to_have_attribute("data-status", "error")
    with run_server(tmp_path / "chat.db", **options) as (process, address):
        await page.goto(f"{address.removesuffix('/__aibind__')}/?chat=one")
        await expect(page.get_by_role("alert")).to_have_text("producer lost")
        await expect(page.locator(".assistant")).to_contain_text("0 1 2 ")
        await say(page, "3")
        await expect(page.locator(".assistant").last).to_have_text("0 1 2")
    await context.close()


async def test_our_transport_over_connections_that_break(browser: Browser, bundle: str) -> None:
    """The page is of another site than the endpoints, is reloaded in mid-reply, and never sees an error."""

    async def page_of(request: Any) -> HTMLResponse:
        del request
        return HTMLResponse(HTML.replace("{}", bundle))

    model = Scripted()
    handler = StreamHandler(model=model, resumable=True, conversations=MemoryConversationStore())
    app = create_chat_app(handler, cors_origins=["*"])
    places = random.Random(3)
    async with serve(Starlette(routes=[Route("/", page_of), Mount("/api", app)])) as url:
        proxy = CuttingProxy(url, every(lambda: places.randrange(700, 2_000)), linger_s=0.05)
        async with proxy.serving() as proxied:
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(f"{url}/?chat=one&api={proxied}/api/chat&transport=/api/chat/transport.js")
            await say(page, "count 150")
            answer = page.locator(".assistant")
            await expect(answer).to_contain_text("50 ", timeout=20_000)
            await page.reload()
            await expect(answer).to_have_text(ALL, timeout=30_000)
            await expect(page.locator("main")).to_have_attribute("data-status", "ready")
            await say(page, "count 5000")
            await expect(answer.last).to_contain_text("9 ", timeout=20_000)
            await page.get_by_role("button", name="Stop").click()
            await expect(page.locator("main")).to_have_attribute("data-status", "ready", timeout=20_000)
            await expect(page.get_by_role("alert")).to_have_count(0)
            await context.close()
        assert proxy.cuts > 4
    assert len(model.requests) == 2
    await handler.aclose()
