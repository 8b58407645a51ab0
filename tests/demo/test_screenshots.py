"""Pictures of the page, light and dark, on a phone and on a desktop, for whoever judges its looks.

They are left in ``test-report/screenshots/`` in the repository's root (``AIBIND_TEST_REPORT`` names another folder than
``test-report``), under names such as ``desktop-dark-2-streaming.png``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from .chat_page import SIZES, ChatPage, new_context
from .support import DemoProcess, report_folder

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=200) as process:
        yield process


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProcess]:
    """Serve replies that are still under way when their picture is taken, however slow this machine is."""
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=8) as process:
        yield process


@pytest.mark.every_look
def test_look(
    browser: Browser,
    server: DemoProcess,
    slow_server: DemoProcess,
    rich_server: DemoProcess,
    device: str,
    colours: str,
) -> None:
    width, height = SIZES[device]
    phone = device == "phone"
    context = new_context(
        browser,
        viewport={"width": width, "height": height},
        color_scheme=colours,
        has_touch=phone,
        is_mobile=phone,
    )
    page = ChatPage(context.new_page(), slow_server).open()
    prompt = "Tell me about the *night train* and how a `durable stream` keeps what it said"

    def shoot(name: str) -> None:
        page.page.screenshot(path=report_folder("screenshots") / f"{device}-{colours}-{name}.png")
        # Nothing sticks out at the side.
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.page.evaluate("document.getElementById('scroller').scrollWidth <= innerWidth")

    expect(page.page.locator(".example")).to_have_count(6)
    shoot("1-empty")
    page.send(prompt)
    page.wait_for_words(80)
    shoot("2-streaming")
    page.page.get_by_role("button", name="Stop the reply").click()
    page.wait_for_answers(1)
    shoot("2-stopped")
    page.send("/think about rivers")
    expect(page.page.locator(".reasoning[open]")).to_contain_text("The user says")
    shoot("5-thinking")
    page.page.keyboard.press("Escape")

    assert page.faults == []
    page.page.close()
    page = ChatPage(context.new_page(), server).open()
    page.ask(prompt)
    shoot("3-finished")
    page.page.get_by_role("button", name="Another answer").click()
    expect(page.answers.first.locator(".branches > span")).to_have_text("2/2")
    page.wait_for_answers(1)
    shoot("4-branches")
    page.ask("/tools tell the time", answers=2)
    page.page.locator(".tool summary").click()
    shoot("6-tools")
    page.ask("/fail about boats", answers=3)
    shoot("7-error")
    if phone:
        page.page.get_by_role("button", name="Show the conversations").click()
        expect(page.page.get_by_role("button", name="Close the list")).to_be_focused()
        expect(page.page.locator("#page")).to_have_attribute("inert", "")
        shoot("8-drawer")
        page.page.keyboard.press("Escape")
        expect(page.page.get_by_role("button", name="Show the conversations")).to_be_focused()
    else:
        page.questions.last.hover()
        page.questions.last.get_by_role("button", name="Edit this message").click()
        shoot("8-editing")
    assert page.faults == []
    page.page.close()
    page = ChatPage(context.new_page(), rich_server).open()
    page.ask("Tell me everything about the lighthouse of Alexandria and its many strange stories from antiquity")
    page.page.locator("#scroller").evaluate("place => place.scrollTop = 0")
    shoot("9-rich-begin")
    page.page.locator("#scroller").evaluate("place => place.scrollTop = place.scrollHeight")
    shoot("9-rich-end")
    assert page.faults == []
    context.close()
