"""axe-core finds no fault in the page: in both colours, on a phone and on a desktop, in each of its states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from .chat_page import SIZES, ChatPage, new_context
from .support import DemoProcess

pytestmark = pytest.mark.browser

LOOK = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const shown = ({ html, failureSummary }) => [html, failureSummary];
  return violations.map(({ id, help, nodes }) => [id, help, nodes.map(shown)]);
}"""


@pytest.mark.every_look
def test_no_violations(
    browser: Browser, server: DemoProcess, rich_server: DemoProcess, axe: Path, device: str, colours: str
) -> None:
    width, height = SIZES[device]
    phone = device == "phone"
    context = new_context(
        browser,
        viewport={"width": width, "height": height},
        color_scheme=colours,
        has_touch=phone,
        is_mobile=phone,
        bypass_csp=True,  # for axe alone, which is no part of the page
    )
    found: dict[str, Any] = {}

    def look(page: ChatPage, state: str) -> None:
        page.page.evaluate("() => new Promise(requestAnimationFrame)")
        page.page.evaluate(axe.read_text(encoding="utf-8"))
        if violations := page.page.evaluate(LOOK):
            found[state] = violations

    def in_the_list(page: ChatPage, act: Callable[[], None]) -> None:
        if phone:
            page.page.get_by_role("button", name="Show the conversations").click()
        act()

    page = ChatPage(context.new_page(), server).open()
    expect(page.page.locator(".example")).to_have_count(6)
    look(page, "empty")
    page.send("/long 50000 Tell me about *the tide*")
    page.wait_for_words(60)
    look(page, "streaming")
    page.page.get_by_label("Your message").fill("And then?")
    page.page.get_by_label("Your message").press("Enter")
    expect(page.status).to_contain_text("A reply is under way")
    look(page, "a message has to wait")
    page.page.keyboard.press("Escape")
    page.wait_for_answers(1)
    look(page, "stopped")
    page.ask("/fail Tell me about boats", answers=2)
    expect(page.notice).to_be_visible()
    look(page, "error")

    page = ChatPage(context.new_page(), rich_server).open()
    page.ask("Tell me everything about the lighthouse of Alexandria, its builders and its many strange stories")
    page.page.get_by_role("button", name="Another answer").click()
    expect(page.answers.first.locator(".branches")).to_be_visible()
    page.wait_for_answers(1)
    look(page, "code, a table, formulas, footnotes and tasks")
    row = page.page.locator("#conversation-list li").first

    def rename() -> None:
        row.hover()
        row.get_by_role("button", name="Rename").click()

    in_the_list(page, rename)
    expect(page.page.get_by_label("Title of the conversation")).to_be_focused()
    look(page, "renaming")
    page.page.keyboard.press("Escape")
    row.hover()
    row.get_by_role("button", name="Delete").click()
    look(page, "asking before it deletes")
    assert found == {}
    context.close()


def test_a_reply_that_was_cut_off_has_no_headings_without_words(
    browser: Browser, server: DemoProcess, axe: Path
) -> None:
    context = new_context(browser, bypass_csp=True)
    page = ChatPage(context.new_page(), server).open().page
    shown = page.evaluate(
        r"""async () => {
          const { showMarkdown } = await import("/static/markdown/view.js");
          const texts = ["words\n\n## ", "# ", "| | b |\n|-|-|\n| 1 | 2 |", "[](https://a.example)", "- \n- a", "1."];
          const places = texts.map((text) => {
            const place = document.getElementById("messages").appendChild(document.createElement("div"));
            return [place, showMarkdown(place, text)];
          });
          for (const [, view] of places) {
            while (!view.isComplete) await new Promise((resolve) => setTimeout(resolve));
          }
          return places.map(([place]) => place.textContent.trim());
        }"""
    )
    assert shown[:2] == ["words\n##", "#"]
    page.evaluate(axe.read_text(encoding="utf-8"))
    assert page.evaluate(LOOK) == []
    context.close()
