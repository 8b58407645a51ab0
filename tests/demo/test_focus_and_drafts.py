"""Where the keyboard is after something went away, and whose draft is in the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from .chat_page import ChatPage, Tab, new_context
from .support import RATE, DemoProcess, until

pytestmark = pytest.mark.browser


def field(page: ChatPage) -> Locator:
    return page.page.get_by_label("Your message")


def row(page: ChatPage, title: str) -> Locator:
    return page.page.locator("#conversation-list li").filter(has_text=title)


def start(page: ChatPage, title: str) -> str:
    """Begin a conversation, and return its id."""
    page.page.get_by_role("button", name="New conversation").click()
    page.ask(f"/short {title}")
    expect(row(page, title)).to_have_count(1)
    return page.session_id


def press_in_row(page: ChatPage, title: str, button: str) -> None:
    row(page, title).hover()
    row(page, title).get_by_role("button", name=button).click()


def count_renames(page: ChatPage) -> list[Any]:
    renames: list[Any] = []
    page.page.on("request", lambda request: renames.append(request) if request.method == "PATCH" else None)
    return renames


def test_escape_cancels_a_rename(tab: Tab) -> None:
    page = tab().open()
    start(page, "Escape leaves me")
    renames = count_renames(page)
    press_in_row(page, "Escape leaves me", "Rename")
    title = page.page.get_by_label("Title of the conversation")
    title.fill("Something else")
    title.press("Escape")
    expect(title).to_have_count(0)
    expect(row(page, "Escape leaves me").get_by_role("link")).to_be_focused()
    press_in_row(page, "Escape leaves me", "Rename")
    title.press("Enter")  # nothing was changed
    expect(row(page, "Escape leaves me").get_by_role("link")).to_be_focused()
    page.page.reload()
    expect(row(page, "Escape leaves me")).to_have_count(1)
    assert renames == []


def test_a_renamed_conversation_has_the_focus(tab: Tab) -> None:
    page = tab().open()
    start(page, "The old name")
    press_in_row(page, "The old name", "Rename")
    page.page.get_by_label("Title of the conversation").fill("The new name")
    page.page.get_by_label("Title of the conversation").press("Enter")
    expect(row(page, "The new name").get_by_role("link")).to_be_focused()
    page.page.reload()
    expect(row(page, "The new name")).to_have_count(1)


def test_a_rename_is_saved_when_something_else_is_clicked(tab: Tab) -> None:
    page = tab().open()
    start(page, "Click elsewhere")
    press_in_row(page, "Click elsewhere", "Rename")
    page.page.get_by_label("Title of the conversation").fill("Clicked elsewhere")
    field(page).click()
    expect(row(page, "Clicked elsewhere")).to_have_count(1)
    expect(field(page)).to_be_focused()


def test_the_next_conversation_has_the_focus_after_one_is_deleted(tab: Tab) -> None:
    page = tab().open()
    for title in ("Stays below", "Goes first", "Stays above"):
        start(page, title)
    press_in_row(page, "Goes first", "Delete")
    page.page.get_by_role("button", name="Keep it").click()
    expect(row(page, "Goes first").get_by_role("button", name="Delete")).to_be_focused()
    press_in_row(page, "Goes first", "Delete")
    page.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "Goes first")).to_have_count(0)
    expect(row(page, "Stays below").get_by_role("link")).to_be_focused()
    press_in_row(page, "Stays above", "Delete")  # the one that is open
    page.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "Stays above")).to_have_count(0)
    expect(row(page, "Stays below").get_by_role("link")).to_be_focused()


def test_the_last_conversation_to_be_deleted_leaves_the_focus_on_the_button_above(tab: Tab, tmp_path: Path) -> None:
    with DemoProcess(tmp_path / "chat.db", tokens_per_second=RATE) as process:
        page = tab(process).open()
        start(page, "The only one")
        press_in_row(page, "The only one", "Delete")
        page.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.page.get_by_role("button", name="New conversation")).to_be_focused()
        expect(page.page.locator("#conversation-list li")).to_have_count(0)


def test_the_field_has_the_focus_after_going_to_the_latest_message(tab: Tab) -> None:
    page = tab().open()
    page.ask("/long 600 Tell me about the tide")
    page.page.locator("#scroller").evaluate("place => place.scrollTop = 0")
    page.page.get_by_role("button", name="Go to the latest message").click()
    expect(field(page)).to_be_focused()


def test_the_last_message_has_the_focus_after_going_to_it_on_a_phone(tab: Tab, browser: Browser) -> None:
    phone = new_context(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = tab(within=phone).open()
    page.ask("/long 600 Tell me about the tide")
    page.page.locator("#scroller").evaluate("place => place.scrollTop = 0")
    page.page.get_by_role("button", name="Go to the latest message").click()
    expect(page.answers.last).to_be_focused()  # the field would open the keyboard
    phone.close()


def test_each_conversation_has_its_own_draft(tab: Tab) -> None:
    page = tab().open()
    one, other = start(page, "Drafts of one"), start(page, "Drafts of another")
    assert one != other
    field(page).fill("for another")
    row(page, "Drafts of one").get_by_role("link").click()
    page.wait_for_answers(1)
    expect(field(page)).to_have_value("")
    field(page).fill("for one")
    page.page.get_by_role("button", name="New conversation").click()
    expect(field(page)).to_have_value("")
    field(page).fill("for a new one")
    for _ in range(2):  # and after a reload
        page.page.go_back()
        page.page.wait_for_url(f"**/c/{one}")
        expect(field(page)).to_have_value("for one")
        row(page, "Drafts of another").get_by_role("link").click()
        expect(field(page)).to_have_value("for another")
        page.page.get_by_role("button", name="New conversation").click()
        expect(field(page)).to_have_value("for a new one")
        row(page, "Drafts of one").get_by_role("link").click()
        page.page.wait_for_url(f"**/c/{one}")
        page.page.get_by_role("button", name="New conversation").click()
        page.page.reload()
    field(page).fill("/short Drafts of a third")
    field(page).press("Enter")
    page.wait_for_answers(1)
    expect(field(page)).to_have_value("")
    page.page.get_by_role("button", name="New conversation").click()
    expect(field(page)).to_have_value("")


def test_a_message_that_cannot_be_sent_goes_back_to_where_it_was_written(tab: Tab, context: BrowserContext) -> None:
    page = tab().open()
    start(page, "Written here")
    start(page, "Looked at later")
    row(page, "Written here").get_by_role("link").click()
    page.wait_for_answers(1)
    held: list[Any] = []
    page.page.route(re.compile("/__aibind__/stream$"), lambda route: held.append(route))
    page.send("/short Not sent")
    until(lambda: page.page.evaluate("true") and held)
    row(page, "Looked at later").get_by_role("link").click()
    expect(page.questions).to_have_text(["/short Looked at later"])
    page.page.unroute_all()
    page.page.route(
        re.compile("/__aibind__/stream$"), lambda route: route.abort()
    )  # it is sent again, three times in all
    held[0].abort()
    expect(page.status).to_contain_text("Not sent")
    expect(field(page)).to_have_value("")
    row(page, "Written here").get_by_role("link").click()
    expect(field(page)).to_have_value("/short Not sent")


def test_what_was_written_for_a_conversation_that_is_gone_is_kept(tab: Tab) -> None:
    page = tab().open()
    start(page, "Soon gone")
    field(page).fill("do not lose me")
    other = tab().open()
    press_in_row(other, "Soon gone", "Delete")
    other.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(other, "Soon gone")).to_have_count(0)
    page.page.bring_to_front()
    expect(page.status).to_contain_text("was deleted elsewhere")
    expect(field(page)).to_have_value("do not lose me")


def test_enter_while_a_reply_is_under_way_says_why_it_waits(tab: Tab) -> None:
    page = tab().open()
    page.send("/long 50000 Keep talking")
    page.wait_for_words(60)
    field(page).fill("/short And then?")
    field(page).press("Enter")
    expect(page.page.get_by_role("status").filter(has_text="A reply is under way")).to_be_visible()
    expect(field(page)).to_have_value("/short And then?")
    page.page.get_by_role("button", name="Stop the reply").click()
    page.wait_for_answers(1)
    expect(page.status).to_be_hidden()
    field(page).press("Enter")
    page.wait_for_answers(2)


def test_the_field_is_in_a_landmark_and_long_titles_can_be_read(tab: Tab) -> None:
    page = tab().open()
    start(page, "A title that goes on, beyond the room in the list")
    region = page.page.get_by_role("region", name="New message")
    expect(region.get_by_label("Your message")).to_be_visible()
    title = page.page.get_by_role("heading", level=1).inner_text()
    expect(page.page.get_by_role("heading", level=1)).to_have_attribute("title", title)
    expect(row(page, "A title that goes on,").get_by_role("link")).to_have_attribute("title", title)


def test_the_versions_of_a_message_are_at_the_edge_of_its_bubble(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short One")
    page.questions.first.hover()
    page.page.get_by_role("button", name="Edit this message").click()
    page.page.get_by_label("Edit your message").fill("/short Two")
    page.page.get_by_label("Edit your message").press("Enter")
    pager = page.questions.first.locator(".branches")
    expect(pager).to_contain_text("2/2")
    page.wait_for_answers(1)
    right = "element => element.getBoundingClientRect().right"
    edge = page.questions.first.locator(".bubble").evaluate(right)
    assert abs(pager.get_by_role("button", name="The next version").locator("path").evaluate(right) - edge) < 8
    middle = "part => part.getBoundingClientRect().top + part.getBoundingClientRect().height / 2"
    middles = [part.evaluate(middle) for part in pager.locator("button, span").all()]
    assert max(middles) - min(middles) < 2
