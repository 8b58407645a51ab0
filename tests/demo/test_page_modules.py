"""The page's own modules, in the browser that runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from .chat_page import new_context
from .support import DemoProcess

pytestmark = pytest.mark.browser

FIXTURES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "sse.json").read_text())
# The recorded parser also dispatches a message that the end of the stream cut off, which the standard discards.
CASES = [case for case in FIXTURES["consume"] if case["text"].endswith("\n\n")]

PARSE = """async (pieces) => {
  const { SseParser } = await import("/static/sse.js");
  return pieces.map((texts) => {
    const messages = [];
    const parser = new SseParser((message) => messages.push(message));
    texts.forEach((text) => parser.push(text));
    return messages;
  });
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with DemoProcess(tmp_path_factory.mktemp("demo") / "chat.db", tokens_per_second=0) as server:
        context = new_context(browser)
        page = context.new_page()
        page.goto(server.url)
        yield page
        context.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["text"][:30]))
def test_recorded_streams_wherever_they_are_cut(page: Page, case: dict[str, Any]) -> None:
    text = case["text"]
    ways = [[text], list(text), *([text[:cut], text[cut:]] for cut in range(1, len(text)))]
    for messages in page.evaluate(PARSE, ways):
        assert messages == case["messages"]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("\ufeffdata: bom\n\n", ["bom"]),
        ("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata:d\n\n", ["a\nb", "c", "d"]),
        (": a comment\n\nevent: none\n\ndata\n\n", [""]),
        ("data: cut off", []),
    ],
)
def test_the_standard_is_followed(page: Page, text: str, data: list[str]) -> None:
    for messages in page.evaluate(PARSE, [[text], list(text)]):
        assert [message["data"] for message in messages] == data


GROW = """async ([text, step]) => {
  const { GrowingMarkdown, toFragment } = await import("/static/markdown.js");
  const { api } = await import("/static/api.js");
  const add = () => document.body.appendChild(document.createElement("div"));
  const words = (element) => element.innerText.replace(/\\s+/g, " ").trim();
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const whole = add();
  whole.append(toFragment((await api.render(text, false)).html));
  const place = add();
  const growing = new GrowingMarkdown(place, () => {});
  const settled = new Set();
  let disturbed = false;
  const look = () => {
    const blocks = [...place.children].filter((child) => !child.classList.contains("rest"));
    disturbed ||= [...settled].some((block) => !blocks.includes(block));
    blocks.forEach((block) => settled.add(block));
  };
  for (let end = 0; end < text.length; end += step) {
    growing.append(text.slice(end, end + step));
    await pause(10);
    look();
  }
  for (let waited = 0; waited < 3000 && words(place) !== words(whole); waited += 1) {
    await pause(20);
    look();
  }
  growing.close();
  const result = [words(place), words(whole), place.querySelectorAll("td, pre, li").length, settled.size, disturbed];
  place.remove();
  whole.remove();
  return result;
}"""

GROWING = """# A *title*

Some **bold** words, a list:

- one `code`
- two 👋🏽 👩🏽‍🚀
  - three

| a | b |
| - | -: |
| 1 | 2 |

```python
def f(x: int) -> str:
    return "```" * x
```

> quoted
> twice

1. first
2. second

And this is the end"""


@pytest.mark.parametrize("step", [1, 7, 60])
def test_text_that_grows_ends_as_it_is_rendered_whole(page: Page, step: int) -> None:
    grown, whole, parts, settled, disturbed = page.evaluate(GROW, [GROWING, step])
    assert grown == whole
    assert parts == 8
    assert settled >= (5 if step == 1 else 0)  # blocks were rendered for good while the text grew …
    assert not disturbed  # … and not touched again
