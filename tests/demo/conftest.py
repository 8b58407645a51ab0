"""A headless Chromium, found on this machine, and tabs of it on a demo of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from .chat_page import ChatPage, Tab, new_context
from .support import RATE, DemoProcess

CANDIDATES = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str:
    for candidate in (os.environ.get("AIBIND_CHROMIUM"), *CANDIDATES):
        if candidate and (found := shutil.which(candidate)):
            return found
    pytest.fail(
        "No Chromium was found: install the package chromium, or set AIBIND_CHROMIUM to its path", pytrace=False
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=RATE) as process:
        yield process


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = new_context(browser)
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext, server: DemoProcess) -> Iterator[Tab]:
    """Open tabs of one browser. None may have had an error, nor broken its content security policy."""
    tabs: list[ChatPage] = []

    def make(of: DemoProcess = server, within: BrowserContext = context) -> ChatPage:
        tabs.append(ChatPage(within.new_page(), of))
        return tabs[-1]

    yield make
    assert [fault for each in tabs for fault in each.faults] == []


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Open one page for tests of its modules alone. It may not have had an error."""
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=0) as process:
        context = new_context(browser)
        opened = ChatPage(context.new_page(), process).open()
        yield opened.page
        context.close()
        assert opened.faults == []
