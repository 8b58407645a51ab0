"""A call of a tool that waits for the user of the page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .chat_page import ChatPage, Tab

pytestmark = pytest.mark.browser


def button(page: ChatPage, name: str) -> None:
    page.page.get_by_role("button", name=name, exact=True).click()


def test_a_call_waits_through_a_reload_and_is_run_with_other_arguments(tab: Tab) -> None:
    page = tab().open()
    page.ask("/tools Send a postcard")
    page.page.reload()
    card = page.page.get_by_role("region", name="Allow send_postcard")
    expect(card).to_contain_text('"to"')
    button(page, "Edit the arguments")
    area = card.get_by_label("Arguments of send_postcard, as JSON")
    area.fill("none")
    button(page, "Allow")
    expect(card.get_by_role("alert")).to_contain_text("write a JSON object")
    area.fill('{"to": "Ada", "text": "Hello"}')
    button(page, "Allow")
    expect(page.answers.last).to_contain_text("The tool answered")
    answer = page.wait_for_answers(1)
    expect(card).to_have_count(0)
    expect(answer).to_contain_text('"to":"Ada"')
    results = [message for message in page.server.messages(page.session_id) if message.get("tool_call_id")]
    assert [message["content"] for message in results] == ['{"sent":true,"to":"Ada","characters":5}']


def test_a_call_is_refused_with_a_reason(tab: Tab) -> None:
    page = tab().open()
    page.ask("/tools Send a postcard")
    page.page.get_by_label("If not, why").fill("No stamps")
    button(page, "Don't allow")
    expect(page.answers.last).to_contain_text("No stamps")
    page.wait_for_answers(1)


def test_a_new_message_declines_a_call(tab: Tab) -> None:
    page = tab().open()
    page.ask("/tools Send a postcard")
    page.ask("/short Never mind", answers=2)
    expect(page.page.locator(".approval")).to_have_count(0)
    assert not [message for message in page.server.messages(page.session_id) if message.get("tool_call_id")]
