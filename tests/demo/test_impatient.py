"""The page under the hands of somebody who does not wait: nothing that was written may be lost, or end up elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from .chat_page import ChatPage, Tab
from .rendering import LONG_WORD, REPLIES
from .support import DemoProcess, until

pytestmark = pytest.mark.browser

WELCOME = "A reply that nothing interrupts"


@contextmanager
def held(page: ChatPage, path: str) -> Iterator[list[Route]]:
    """Hold what the page asks of ``path`` on its way; what is held is let go at the end."""
    routes: list[Route] = []
    pattern = re.compile(rf"{path}$")
    page.page.route(pattern, lambda route: routes.append(route) if route.request.method == "POST" else route.fallback())
    yield routes
    for route in routes:
        route.continue_()
    page.page.unroute(pattern)


def field(page: ChatPage) -> Any:
    return page.page.get_by_label("Your message")


def wait_for(page: ChatPage, routes: list[Route]) -> None:
    """Wait until something is held."""
    until(lambda: page.page.evaluate("true") and routes)


def test_a_double_click_sends_once_and_stops_nothing(tab: Tab) -> None:
    page = tab().open()
    field(page).fill("/long 400 Tell me about the tide")
    page.page.get_by_role("button", name="Send").dblclick()
    answer = page.wait_for_answers(1)
    expect(page.questions).to_have_count(1)
    expect(answer).not_to_contain_text("Stopped")


def test_a_reply_is_stopped_before_the_server_has_begun_it(tab: Tab) -> None:
    page = tab().open()
    with held(page, "/__aibind__/stream") as routes:
        page.send("/long 50000 Tell me about the heron")
        wait_for(page, routes)
        page.page.get_by_role("button", name="Stop the reply").click()
    expect(page.live).to_have_count(0)
    expect(page.page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.page.get_by_text("Stopped", exact=False).last).to_be_visible()
    page.ask("/short And now?", answers=page.answers.count() + 1)


def test_a_message_that_a_reload_overtakes_is_not_lost(tab: Tab) -> None:
    page = tab().open()
    page.page.route(
        re.compile("/__aibind__/stream$"), lambda route: None if route.request.method == "POST" else route.fallback()
    )
    page.send("/short Do not forget me")
    expect(page.questions).to_have_count(1)
    expect(page.page).to_have_url(re.compile("/c/"))
    page.page.goto(page.server.url)
    expect(field(page)).to_have_value("/short Do not forget me")
    page.page.unroute_all()
    field(page).press("Enter")
    page.wait_for_answers(1)
    page.page.reload()
    page.wait_for_answers(1)
    expect(field(page)).to_have_value("")


def test_a_message_whose_answer_was_lost_is_sent_again_and_asked_once(tab: Tab) -> None:
    page = tab().open()
    keys: list[str | None] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) == 1:
            route.fetch()  # it arrives, and is answered to the end
            route.abort()
        else:
            route.fallback()

    page.page.route(re.compile("/__aibind__/stream$"), lose_the_first)
    page.send("/short Hello")
    page.wait_for_answers(1)
    assert len(keys) == 2
    assert keys[0] == keys[1] is not None
    page.page.reload()
    page.wait_for_answers(1)
    expect(page.questions).to_have_count(1)
    expect(page.answers).to_have_count(1)


def test_a_message_that_arrived_although_nobody_heard_of_it_is_not_offered_again(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short Hello")
    session = page.session_id
    page.page.route(re.compile("/__aibind__/stream$"), lambda _: None)
    page.send("/short Do not repeat me")
    expect(page.questions).to_have_count(2)
    # What the page sends is held here; the same arrives on another way, whose answer the page never sees.
    body = {"prompt": "/short Do not repeat me", "sessionId": session}
    assert page.page.request.post(f"{page.server.url}/__aibind__/stream", data=body).ok
    page.page.reload()
    page.wait_for_answers(2)
    expect(page.questions.last).to_contain_text("Do not repeat me")
    expect(field(page)).to_have_value("")


def test_a_message_is_sent_although_its_writer_has_gone_elsewhere(tab: Tab) -> None:
    page = tab().open()
    with held(page, "/__aibind__/stream") as routes:
        page.send("/short Sent on the way out")
        wait_for(page, routes)
        page.page.get_by_role("button", name="New conversation").click()
        expect(page.page.get_by_role("heading", name=WELCOME)).to_be_visible()
    row = page.page.locator("#conversation-list li").filter(has_text="Sent on the way out")
    expect(row).to_have_count(1)
    expect(page.page.get_by_role("heading", name=WELCOME)).to_be_visible()  # nobody is pulled back
    expect(page.page.locator(".message")).to_have_count(0)
    assert "/c/" not in page.page.url
    row.get_by_role("link").click()
    page.wait_for_answers(1)


def test_back_and_forward_in_mid_reply(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short The first")
    page.page.get_by_role("button", name="New conversation").click()
    page.send("/long 50000 The second")
    page.wait_for_words(50)
    second = page.session_id
    for _ in range(3):
        page.page.go_back()
        page.page.go_back()
        page.page.go_forward()
        page.page.go_forward()
    page.wait_for_words(100)
    assert page.session_id == second
    expect(page.questions).to_have_text(["/long 50000 The second"])
    expect(page.page.locator(".message.assistant")).to_have_count(1)
    page.page.go_back()
    page.page.go_back()
    expect(page.questions).to_have_text(["/short The first"])
    page.wait_for_answers(1)
    page.page.go_forward()
    page.page.go_forward()
    page.wait_for_words(100)
    page.page.keyboard.press("Escape")
    assert page.copied(page.wait_for_answers(1)) == page.stored_answer()


def test_an_edit_in_mid_reply_waits_and_says_so(tab: Tab) -> None:
    page, other = tab().open(), tab()
    page.ask("/short Hello")
    other.open(f"/c/{page.session_id}")
    other.wait_for_answers(1)
    page.page.bring_to_front()
    page.questions.first.hover()
    page.questions.first.get_by_role("button", name="Edit this message").click()
    editor = page.page.get_by_label("Edit your message")
    editor.fill("/short Hello again")
    other.page.bring_to_front()
    other.send("/long 50000 Keep talking")
    other.wait_for_words(50)
    page.page.bring_to_front()
    page.wait_for_words(50)
    editor.press("Enter")
    expect(page.status).to_contain_text("Stop the reply first")
    expect(editor).to_have_value("/short Hello again")
    page.page.get_by_role("button", name="Stop the reply").click()
    page.wait_for_answers(2)
    editor.press("Enter")
    page.wait_for_answers(1)
    expect(page.questions.locator(".bubble")).to_have_text(["/short Hello again"])


def test_two_tabs_stop_at_once(tab: Tab) -> None:
    one, two = tab().open(), tab()
    one.send("/long 50000 Tell me about the lighthouse")
    one.wait_for_words(60)
    two.open(f"/c/{one.session_id}")
    two.wait_for_words(60)
    for page in (one, two):  # without waiting for what comes of it
        page.page.evaluate("document.getElementById('send').click()")
    assert one.copied(one.wait_for_answers(1)) == two.copied(two.wait_for_answers(1)) == one.stored_answer()


def test_an_address_of_nothing_leads_to_the_beginning(tab: Tab) -> None:
    page = tab()
    for path in ("/c/nobody", "/c/%E0%A4%A", "/c/%20"):
        page.open(path)
        expect(page.page.get_by_role("heading", name=WELCOME)).to_be_visible()
        expect(page.status).to_contain_text("does not exist")


ODD = ["empty", "long", "rtl", "rich"]


@pytest.mark.parametrize("name", ODD)
def test_odd_answers(tab: Tab, endpoint: str, name: str, tmp_path: Path) -> None:
    with DemoProcess(tmp_path / "chat.db", "--base-url", endpoint, "--model", name) as process:
        page = tab(process).open()
        page.page.set_viewport_size({"width": 390, "height": 844})
        page.send(LONG_WORD)
        for _ in range(2):  # as it came, and after a reload
            answer = page.wait_for_answers(1)
            assert page.stored_answer() == "".join(REPLIES[name])
            assert page.page.evaluate("document.getElementById('scroller').scrollWidth <= innerWidth")
            assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            expect(page.page.locator(".notice")).to_have_count(0)
            if name == "empty":
                expect(answer).to_contain_text("The answer was empty.")
            page.page.reload()
