"""A headless Chromium, found on this machine, and tabs of it on a demo of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from testbed.node import CannotInstallError, install_packages
from tests.support.endpoint import texts

from .chat_page import SIZES, ChatPage, Tab, new_context
from .rendering import REPLIES
from .support import RATE, ROOT, DemoProcess

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Look at the page on each device and in each colours once; with ``--every-combination``, on each in both."""
    if metafunc.definition.get_closest_marker("every_look"):
        looks = [("desktop", "light"), ("phone", "dark")]
        if metafunc.config.getoption("every_combination"):
            looks = [(device, colours) for device in SIZES for colours in ("light", "dark")]
        metafunc.parametrize(("device", "colours"), looks)


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


@pytest.fixture(scope="session")
def axe() -> Path:
    """Install axe-core, which looks for accessibility faults, as the lock file says."""
    try:
        return install_packages(Path(__file__).parent, "axe-core") / "axe-core" / "axe.min.js"
    except CannotInstallError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve recorded replies, each as the model of its name."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, pieces in REPLIES.items():
        (folder / f"{name}.jsonl").write_text("\n".join(texts(*pieces)), encoding="utf-8")
    command = [sys.executable, "-m", "tests.support.endpoint", "--recording", str(folder), "--delay-ms", "10"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.kill()


@pytest.fixture(scope="session")
def rich_server(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """Run a demo whose model answers with all that Markdown has."""
    database = tmp_path_factory.mktemp("demo") / "chat.db"
    with DemoProcess(database, "--base-url", endpoint, "--model", "rich") as process:
        yield process


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


@pytest.fixture(scope="session")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """Run a demo that serves the page's modules, and answers nothing."""
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=0) as process:
        yield process


@pytest.fixture(scope="module")
def page(browser: Browser, module_server: DemoProcess) -> Iterator[Page]:
    """Open one page for tests of its modules alone. It may not have had an error."""
    context = new_context(browser)
    opened = ChatPage(context.new_page(), module_server).open()
    yield opened.page
    context.close()
    assert opened.faults == []
