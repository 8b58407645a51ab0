"""No code stops the page: colours come from a worker, within a limit."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from .rendering import words
from .stalls import code_blocks, constructs, languages_of, measure

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SHOW = """async ([slow, quick]) => {
  const { showMarkdown } = await import("/static/markdown/view.js");
  const show = (text) => {
    const place = document.body.appendChild(document.createElement("div"));
    return [place, showMarkdown(place, text)];
  };
  const [place, view] = show(slow);
  const at_once = [view.isComplete, place.querySelector("code").textContent.length];
  let turns = 0;
  while (!view.isComplete) {
    turns += 1;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const spans = place.querySelectorAll("code span").length;
  const [next, after] = show(quick);
  while (!after.isComplete) await new Promise((resolve) => setTimeout(resolve, 10));
  const later = next.querySelectorAll("code span").length;
  [place, next].forEach((each) => each.remove());
  return { at_once, turns, spans, later };
}"""


def test_code_that_takes_for_ever_stays_in_one_colour_and_the_page_goes_on(page: Page) -> None:
    """The expressions for Markdown take half a minute for this, on a machine of 2026."""
    code = "[a](" * 4000
    shown: dict[str, Any] = page.evaluate(SHOW, [f"```markdown\n{code}\n```\n", "```python\ndef f(): return 1\n```\n"])
    assert shown["at_once"] == [False, len(code) + 1]
    assert shown["turns"] > 5  # the page did other things meanwhile
    assert shown["spans"] == 0
    assert shown["later"] > 0


@pytest.mark.parametrize("chars", [400])
def test_each_language_and_construct_is_shown_whole(page: Page, chars: int) -> None:
    """The campaign ``python -m tests.stalls`` measures these, longer."""
    languages = languages_of(page)
    assert len(languages) > 30
    browser = page.context.browser
    assert browser is not None
    assert len(measure(browser, page, list(constructs(chars)))) > 100
    for name, text in code_blocks(languages[::12], chars):
        code = text.split("\n", 1)[1].rstrip("`~\n") if "'~'" not in name else "~"
        assert code.replace("\0", "") in words(page, text).replace("\ufffd", ""), name


LONG = {
    "lines in colours": "```r\n" + "\n-" * 8_000 + "\n```\n",
    "many colours": "```python\n" + "1\n" * 8_000 + "```\n",
    "a long line": "```python\n" + "a=1 " * 4_000 + "\n```\n",
    "a long file": "```json\n" + '{"a": 1, "b": [1, 2]},\n' * 12_000,
    "text as it is": "-\n" * 16_000,
    "many blocks": "~~~\n" * 8_000,
}
"""Each of these held the page for 60 ms to 2.4 s while all of its lines were arranged at once."""


@pytest.mark.parametrize("name", LONG)
def test_the_page_shows_long_texts_in_steps(page: Page, name: str) -> None:
    browser = page.context.browser
    assert browser is not None
    tried = [measure(browser, page, [(name, LONG[name])], 1 + attempt)[0] for attempt in range(2)]
    assert min(tried).cpu_ms < 50, tried


HELD = """async ([texts]) => {
  const { showMarkdown } = await import("/static/markdown/view.js");
  const shown = [];
  for (const text of texts) {
    const place = document.body.appendChild(document.createElement("div"));
    const view = showMarkdown(place, text);
    const isLeftToTheWorker = !view.isComplete;
    let turns = 0;
    while (!view.isComplete) {
      turns += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    shown.push([isLeftToTheWorker, turns > 1, place.textContent.length >= text.length / 3]);
    place.remove();
  }
  return shown;
}"""


def test_markdown_that_takes_long_to_read_is_read_in_a_worker(page: Page) -> None:
    """Each of these holds a page that reads it itself for seconds: the time grows with the square of their length."""
    texts = ["x " + "~~" * 16_000, "^[" * 16_000, "[^a" * 10_000, "- [ ] a\n" * 4_000, "x ~~" * 8_000]
    assert page.evaluate(HELD, [texts]) == [[True, True, True]] * len(texts)
