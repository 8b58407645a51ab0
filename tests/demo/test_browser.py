"""The page in headless Chromium, on a real ``aibind demo``: what somebody sees who reloads, stops, edits and kills.

Screenshots are left in ``test-report/screenshots/`` in the repository's root (``AIBIND_TEST_REPORT`` names another
folder than ``test-report``).
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from aibind.history import ChatHistory
from aibind.sqlite import SqliteMessageStore, migrate, wrap_sqlite3

from .chat_page import ChatPage, Tab, new_context
from .support import RATE, DemoProcess, until

pytestmark = pytest.mark.browser


def test_a_reply_streams_and_is_kept(tab: Tab) -> None:
    page = tab().open()
    page.send("/long 1200 Tell me about the night train")
    early = page.wait_for_words(60)
    expect(page.page.get_by_role("button", name="Stop the reply")).to_be_visible()
    answer = page.wait_for_answers(1)
    assert len(answer.inner_text()) > len(early)
    assert page.copied(answer) == page.stored_answer()
    assert page.copied(page.questions.first) == "/long 1200 Tell me about the night train"
    assert page.page.title() == "Tell me about the night train · aibind"
    expect(answer.get_by_title("tokens read")).to_have_text(re.compile(r"^[\d,]+ tokens$"))


def test_a_reply_costs_one_request(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short Hello")
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.send("/long 1500 Tell me about **bold** `code` and the old radio")
    page.wait_for_words(3000)
    during = set(asked)
    page.page.keyboard.press("Escape")
    page.wait_for_answers(2)
    url = page.server.url
    # The list is looked at every two seconds, reply or not, and the conversation when the list says that it changed.
    sessions = f"{url}/__aibind__/sessions"
    expected = {f"GET {sessions}?limit=200&live=true", f"GET {sessions}/{page.session_id}?limit=50"}
    assert during - expected == {f"POST {url}/__aibind__/stream"}
    assert [each for each in asked if "stream" in each][:1] == [f"POST {url}/__aibind__/stream"]
    assert asked.count(f"POST {url}/__aibind__/stream") == 1


def test_a_reload_in_mid_reply_goes_on_to_the_same_text(tab: Tab) -> None:
    page = tab().open()
    resumed: list[str] = []
    page.page.on("request", lambda request: resumed.append(request.url) if "stream/resume" in request.url else None)
    page.send("/long 50000 Tell me about the tide")
    for characters in (150, 600):
        before = page.wait_for_words(characters)
        page.page.reload()
        assert before[:100] in page.wait_for_words(len(before))  # all of it is there again, and once
        expect(page.page.locator(".message.assistant")).to_have_count(1)
    page.page.keyboard.press("Escape")
    answer = page.wait_for_answers(1)
    assert len(resumed) == 2
    assert page.copied(answer) == page.stored_answer()
    shown = answer.locator(".text").inner_text()
    page.page.reload()
    assert page.wait_for_answers(1).locator(".text").inner_text() == shown


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_stop_keeps_what_had_arrived(tab: Tab, way: str) -> None:
    page = tab().open()
    page.send("/long 50000 Tell me about the heron")
    page.wait_for_words(150)
    if way == "button":
        page.page.get_by_role("button", name="Stop the reply").click()
    else:
        page.page.keyboard.press("Escape")
    answer = page.wait_for_answers(1)
    expect(answer).to_contain_text("Stopped")
    stored = page.server.messages(page.session_id)[-1]
    assert stored["metadata"]["finish"] == "stopped"
    assert page.copied(answer) == stored["content"]
    page.ask("/short And now?", answers=2)


def test_edit_and_regenerate_make_branches_to_walk_through(tab: Tab) -> None:
    page = tab().open()
    first = page.copied(page.ask("/short Say something about rivers"))
    page.page.get_by_role("button", name="Another answer").click()
    until(lambda: page.answers.count() == 1 and page.answers.first.locator(".branches").count())
    answer = page.wait_for_answers(1)
    second = page.copied(answer)
    assert page.branch(answer) == "2/2"
    assert second != first

    answer.get_by_role("button", name="The version before").click()
    expect(page.answers.first.locator(".branches > span")).to_have_text("1/2")
    assert page.copied(page.answers.first) == first

    question = page.questions.first
    question.hover()
    question.get_by_role("button", name="Edit this message").click()
    page.page.get_by_label("Edit your message").fill("/short Say something about trains")
    page.page.get_by_label("Edit your message").press("Enter")
    expect(page.questions.first.locator(".bubble")).to_have_text("/short Say something about trains")
    until(lambda: page.questions.first.locator(".branches").count())
    third = page.copied(page.wait_for_answers(1))
    assert "trains" in third
    assert page.branch(page.questions.first) == "2/2"

    page.page.reload()
    page.wait_for_answers(1)
    page.questions.first.get_by_role("button", name="The version before").click()
    expect(page.questions.first.locator(".bubble")).to_have_text("/short Say something about rivers")
    assert page.copied(page.answers.first) == first
    page.answers.first.get_by_role("button", name="The next version").click()
    expect(page.answers.first.locator(".branches > span")).to_have_text("2/2")
    assert page.copied(page.answers.first) == second


def test_editing_can_be_given_up(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short Leave me as I am")
    page.questions.first.hover()
    page.page.get_by_role("button", name="Edit this message").click()
    page.page.get_by_label("Edit your message").press("Escape")
    expect(page.questions.first.locator(".bubble")).to_have_text("/short Leave me as I am")


def test_other_tabs_follow_the_same_reply_live(tab: Tab, browser: Browser) -> None:
    one, open_before = tab().open(), tab()
    one.ask("/short Hello")
    open_before.open(f"/c/{one.session_id}")
    open_before.wait_for_answers(1)
    one.send("/long 50000 Tell me about the lighthouse")
    begun = one.wait_for_words(60)[:50]
    opened_in_the_middle = tab().open(f"/c/{one.session_id}")
    elsewhere = new_context(browser)  # another browser: nothing but the server can tell it
    phone = tab(within=elsewhere).open(f"/c/{one.session_id}")
    tabs = (one, open_before, opened_in_the_middle, phone)
    assert {each.wait_for_words(200)[:50] for each in tabs} == {begun}
    phone.page.get_by_role("button", name="Stop the reply").click()
    assert {each.copied(each.wait_for_answers(2)) for each in tabs} == {one.stored_answer()}
    # The other browser's new turn is seen here, too.
    phone.ask("/short And now?", answers=3)
    assert one.copied(one.wait_for_answers(3)) == one.stored_answer()
    elsewhere.close()


def test_a_reply_goes_on_after_the_network_was_away(tab: Tab, context: BrowserContext) -> None:
    page = tab().open()
    page.send("/long 2000 Tell me about the old radio")
    page.wait_for_words(100)
    context.set_offline(True)
    expect(page.status).to_contain_text("You are offline")
    context.set_offline(False)
    answer = page.wait_for_answers(1)
    assert page.copied(answer) == page.stored_answer()
    expect(page.status).to_be_hidden()


def test_a_message_that_cannot_be_sent_is_given_back(tab: Tab, context: BrowserContext) -> None:
    page = tab().open()
    page.ask("/short Hello")
    context.set_offline(True)
    page.send("/short Is somebody there?")
    expect(page.page.get_by_label("Your message")).to_have_value("/short Is somebody there?")
    expect(page.questions).to_have_count(1)
    context.set_offline(False)
    page.page.get_by_label("Your message").press("Enter")
    assert "Is somebody there" in page.copied(page.wait_for_answers(2))


def test_a_failure_is_explained_and_can_be_tried_again(tab: Tab) -> None:
    page = tab().open()
    page.send("/fail Tell me about boats")
    expect(page.notice).to_contain_text("The offline model failed, since the prompt asked for it with /fail.")
    answer = page.wait_for_answers(1)
    assert page.copied(answer) == page.stored_answer()
    page.page.reload()
    expect(page.notice).to_contain_text("The offline model failed")
    page.page.get_by_role("button", name="Try again").click()
    expect(page.answers.first.locator(".branches > span")).to_have_text("2/2")
    expect(page.notice).to_have_count(1)


def test_an_endpoint_that_cannot_be_reached_is_said(tab: Tab, tmp_path: Path) -> None:
    arguments = ("--base-url", "http://127.0.0.1:1/v1", "--model", "some-model")
    with DemoProcess(tmp_path / "chat.db", *arguments) as process:
        page = tab(process).open()
        expect(page.page.locator("#model")).to_have_text("some-model")
        page.send("Is somebody there?")
        for _ in range(2):  # live, and after a reload
            expect(page.notice).to_contain_text("The model's endpoint cannot be reached")
            expect(page.page.locator(".message.assistant")).to_have_count(0)
            page.page.reload()
        page.notice.evaluate("notice => notice.id = 'earlier-notice'")
        page.page.get_by_role("button", name="Try again").click()
        expect(page.page.locator(".notice:not(#earlier-notice)")).to_contain_text("cannot be reached")
        expect(page.notice).to_have_count(1)
        expect(page.questions).to_have_count(1)


COUNT_FOLDED = """() => {
  window.folded = 0;
  new MutationObserver((changes) => {
    window.folded += changes.filter(({ target }) => target.matches(".reasoning") && !target.open).length;
  }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["open"] });
}"""


def test_reasoning_and_tool_calls_are_shown_and_kept(tab: Tab) -> None:
    page = tab().open()
    page.page.evaluate(COUNT_FOLDED)
    page.ask("/think What is a stream?")
    until(lambda: page.page.evaluate("window.folded"))  # it was open as long as there was nothing else to read
    page.ask("/tools What time is it?", answers=2)
    page.page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.answers.last).to_contain_text("The tool answered")
    page.wait_for_answers(2)
    for _ in range(2):  # live, and after a reload
        reasoning, tool = page.page.locator(".reasoning"), page.page.locator(".tool")
        expect(reasoning.locator(".reasoning-text")).to_be_hidden()
        reasoning.locator("summary").click()
        expect(reasoning.locator(".reasoning-text")).to_contain_text("The user says")
        tool.locator("summary").click()
        expect(tool).to_contain_text("Tool send_postcard")
        expect(tool.locator("pre")).to_contain_text(['"to"', '"sent": true'])
        page.page.reload()
        page.wait_for_answers(2)


HOSTILE = (
    "Hello <script>window.hacked = 1</script> <img src=x onerror='window.hacked=1'> "
    "[bad](javascript:window.hacked=1) [worse](data:text/html,<script>alert(1)</script>) "
    "![picture](http://127.0.0.1:1/pixel.png) [good](https://example.com/a?b=1&c=2) <b>bold</b>"
)


def test_hostile_text_stays_text(tab: Tab) -> None:
    page = tab().open()
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    answer = page.ask(HOSTILE)  # the offline model repeats what it is told
    for _ in range(2):  # as it was streamed, and after a reload
        text = answer.locator(".text")
        expect(text).to_contain_text("<script>window.hacked = 1</script>")
        expect(text).to_contain_text("<b>bold</b>")
        assert text.locator("script, img, b, iframe").count() == 0
        links = text.locator("a").evaluate_all("links => links.map(link => [link.textContent, link.href])")
        assert links == [["picture", "http://127.0.0.1:1/pixel.png"], ["good", "https://example.com/a?b=1&c=2"]]
        for attribute, value in (("rel", "noopener noreferrer nofollow"), ("target", "_blank")):
            expect(text.locator("a").last).to_have_attribute(attribute, value)
        page.page.reload()
        answer = page.wait_for_answers(1)
    assert page.page.evaluate("window.hacked") is None
    assert not [url for url in asked if "pixel" in url]


def test_conversations_are_renamed_and_deleted(tab: Tab) -> None:
    page = tab().open()
    page.ask("/short About the first thing")
    first = page.session_id
    page.page.get_by_role("button", name="New conversation").click()
    page.ask("/short About the second thing")
    rows = page.page.locator("#conversation-list li")
    row = rows.filter(has_text="About the first thing")
    row.hover()
    row.get_by_role("button", name="Rename").click()
    page.page.get_by_label("Title of the conversation").fill("Something else")
    page.page.get_by_label("Title of the conversation").press("Enter")
    row = rows.filter(has_text="Something else")
    row.get_by_role("link").click()
    expect(page.page.get_by_role("heading", level=1)).to_have_text("Something else")
    assert page.session_id == first

    other = tab().open(f"/c/{first}")
    page.send("/long 50000 Keep talking")
    other.wait_for_words(50)
    page.page.bring_to_front()
    row.hover()
    row.get_by_role("button", name="Delete").click()
    page.page.get_by_role("button", name="Keep it").click()
    expect(row).to_have_count(1)
    row.hover()
    row.get_by_role("button", name="Delete").click()
    page.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rows.filter(has_text="Something else")).to_have_count(0)
    expect(rows.filter(has_text="About the second thing")).not_to_have_count(0)
    expect(page.page.get_by_role("heading", name="A reply that nothing interrupts")).to_be_visible()
    expect(other.page.get_by_role("heading", name="A reply that nothing interrupts")).to_be_visible()


def test_conversations_survive_a_restart(tab: Tab, tmp_path: Path) -> None:
    with DemoProcess(tmp_path / "chat.db", tokens_per_second=RATE) as process:
        page = tab(process).open()
        text = page.copied(page.ask("/short Remember the tide"))
        page.page.get_by_role("button", name="New conversation").click()
        page.ask("/short Remember the heron")
        page.send("/long 50000 Talk until the end")
        page.wait_for_words(100)
        assert process.end() == 0  # while a reply is under way, and a browser holds connections
        expect(page.status).to_contain_text("The server cannot be reached")
        process.start()
        expect(page.notice).to_contain_text("The server was shut down during this reply")
        assert page.copied(page.wait_for_answers(2)) == page.stored_answer()
        page.page.reload()
        rows = page.page.locator("#conversation-list li")
        expect(rows).to_have_text(["Remember the heron", "Remember the tide"])
        rows.last.get_by_role("link").click()
        expect(page.questions).to_have_text(["/short Remember the tide"])
        assert page.copied(page.wait_for_answers(1)) == text


def test_a_killed_servers_reply_goes_on_and_the_next_message_works(tab: Tab, tmp_path: Path) -> None:
    with DemoProcess(tmp_path / "chat.db", tokens_per_second=RATE) as process:
        page = tab(process).open()
        page.ask("/short Hello")
        page.send("/long 50000 Tell me about the paper boat")
        shown = page.wait_for_words(300)
        process.kill()
        expect(page.status).to_contain_text("The server cannot be reached")
        process.start()
        until(lambda: len(page.shown(page.live)) > len(shown) + 500, seconds=60)  # once two leases have passed
        page.page.get_by_role("button", name="Stop the reply").click()
        answer = page.wait_for_answers(2)
        assert answer.locator(".text").inner_text()[:200] == shown[:200]
        stored = page.server.messages(page.session_id)
        assert [message["role"] for message in stored] == ["user", "assistant"] * 2
        assert stored[-1]["metadata"]["finish"] == "stopped"
        assert page.copied(answer) == stored[-1]["content"]
        assert "Are you back" in page.copied(page.ask("/short Are you back?", answers=3))
        assert page.notice.count() == 0


def test_keys_drafts_and_colours(tab: Tab) -> None:
    page = tab().open()
    field = page.page.get_by_label("Your message")
    expect(field).to_be_focused()
    field.press("Enter")
    expect(page.page.locator(".message")).to_have_count(0)  # there is nothing to send
    field.fill("one")
    field.press("Shift+Enter")
    field.press_sequentially("two")
    expect(field).to_have_value("one\ntwo")
    page.page.reload()
    expect(field).to_have_value("one\ntwo")  # a draft is not lost, either
    light = paper(page)
    page.page.get_by_role("button", name="Switch between light and dark").click()
    until(lambda: paper(page) != light)
    dark = paper(page)
    page.page.reload()
    assert paper(page) == dark
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.tagName") != "BODY"


def paper(page: ChatPage) -> Any:
    return page.page.evaluate("getComputedStyle(document.body).backgroundColor")


def store_long_conversation(database: Path, turns: int) -> None:
    """Store a conversation, ``long``, of so many turns, with an alternative to its first question."""

    async def store() -> None:
        async with wrap_sqlite3(database) as client:
            await migrate(client)
            chat = ChatHistory()
            first = chat.append({"role": "user", "content": "Question 0"})
            chat.edit(first, {"role": "user", "content": "Another beginning"})
            chat.tree.set_active_leaf(first)
            chat.append({"role": "assistant", "content": "Answer 0"})
            for number in range(1, turns):
                chat.append({"role": "user", "content": f"Question {number}"})
                chat.append({"role": "assistant", "content": f"Answer {number}\n\nAnd more of it."})
            await SqliteMessageStore(client).save("long", chat, title="A long one")

    with ThreadPoolExecutor() as threads:  # the browser has the event loop of this one
        threads.submit(lambda: asyncio.run(store())).result()


def test_a_long_conversation_shows_its_end_first_and_more_of_it_on_the_way_up(tab: Tab, tmp_path: Path) -> None:
    store_long_conversation(tmp_path / "chat.db", 100)
    with DemoProcess(tmp_path / "chat.db", tokens_per_second=0) as process:
        page = tab(process).open("/c/long")
        expect(page.questions).to_have_count(25)
        expect(page.questions.first).to_contain_text("Question 75")
        expect(page.answers.last).to_be_in_viewport()
        # Scrolling up loads what is above, and leaves in place what is read.
        page.page.mouse.move(700, 400)

        def scroll_up() -> bool:
            page.page.mouse.wheel(0, -400)
            return page.questions.count() > 25

        until(scroll_up)
        count = page.questions.count()
        expect(page.answers.last).not_to_be_in_viewport()
        page.page.get_by_label("Your message").fill("/short And now?")
        page.page.get_by_label("Your message").press("Enter")
        expect(page.answers.last).to_contain_text("And now")
        expect(page.questions).to_have_count(count + 1)  # what was loaded stays
        # The button does the same for those who do not scroll.
        button = page.page.get_by_role("button", name="Show earlier messages")
        while button.is_visible():
            count = page.questions.count()
            button.dispatch_event("click")  # a click would scroll to it, which loads as well
            until(lambda seen=count: page.questions.count() > seen)
        expect(page.questions).to_have_count(101)
        first = page.questions.first
        first.hover()
        first.get_by_role("button", name="The next version").click()
        expect(page.questions.locator(".bubble")).to_have_text(["Another beginning"])
        page.questions.first.hover()
        page.questions.first.get_by_role("button", name="The version before").click()
        expect(page.questions).to_have_count(101)  # as far up as the message that was chosen
        expect(page.questions.first).to_contain_text("Question 0")


def test_what_is_read_stays_in_place_when_older_messages_come(tab: Tab, tmp_path: Path) -> None:
    store_long_conversation(tmp_path / "chat.db", 100)
    with DemoProcess(tmp_path / "chat.db", tokens_per_second=0) as process:
        page = tab(process).open("/c/long")
        expect(page.questions).to_have_count(25)
        page.page.evaluate("""() => {
          window.mark = document.querySelectorAll(".message")[3];
          window.mark.scrollIntoView();
          window.before = window.mark.getBoundingClientRect().top;
        }""")
        until(lambda: page.questions.count() > 25)
        moved = "() => Math.abs(window.mark.getBoundingClientRect().top - window.before)"
        page.page.evaluate("() => new Promise(requestAnimationFrame)")
        assert page.page.evaluate(moved) < 3
