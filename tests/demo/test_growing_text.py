"""Text that grows: what is shown at each moment, and that nothing which is settled is touched again."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from .rendering import RICH

pytestmark = pytest.mark.browser

GROW = """async ([text, step]) => {
  const { MarkdownView, showMarkdown } = await import("/static/markdown/view.js");
  const add = () => document.body.appendChild(document.createElement("div"));
  const [whole, place] = [add(), add()];
  const settled = new Map(); // blocks that were over, and their HTML
  const disturbed = [];
  const look = () => {
    const blocks = [...place.children].filter((child) => !child.querySelector(".tail") && !child.matches(".notes"));
    for (const [block, html] of settled) {
      if (!block.isConnected || block.outerHTML !== html) disturbed.push(html);
    }
    blocks.slice(0, -2).forEach((block) => settled.has(block) || settled.set(block, block.outerHTML));
  };
  const view = new MarkdownView(place, () => {}, "x");
  for (let at = 0; at < text.length; at += step) {
    view.append(text.slice(at, at + step));
    view.flush();
    look();
  }
  view.end();
  const once = showMarkdown(whole, text);
  while (!view.isComplete || !once.isComplete) await new Promise((resolve) => setTimeout(resolve));
  const html = (element) => element.innerHTML.replaceAll(/text-\\d+-/g, "x-");
  const result = [html(place), html(whole), settled.size, disturbed];
  place.remove();
  whole.remove();
  return result;
}"""


@pytest.mark.parametrize("step", [1, 7, 60])
def test_text_that_grows_ends_as_it_is_rendered_whole(page: Page, step: int) -> None:
    grown, whole, settled, disturbed = page.evaluate(GROW, [RICH, step])
    assert grown == whole
    assert settled >= 8
    # The paragraph that refers to an address is rendered again when that comes, and nothing else is.
    assert [html for html in disturbed if "See " not in html] == []


TRICKY = [
    "words\n#tag and\n# a heading\n",
    "words\n-not a list\n- a list\n1.no\n1. yes\n",
    "$$\na\n\nwords\n\n$$\n\nend",
    "$$\n- a\n+ b\n$$\nend",
    "\\[\na\n\\] words\n- b\n\\]\n\nend",
    "[a]: https://example.com\n'ti\ntle'\nwords [a]\n\n[a]",
    "[a] [b]\n\n> [a]: https://example.com\n\n[b]: https://b.example 'x'\n\n[a]: https://late.example\n",
    "one[^a]\n\n[^a]: note\nlazy\n\n    more[^b]\n\n[^b]: other\n[^a]: again\n\ntwo[^c]",
    "- a[^x]\n\n  [^x]: inside\n- b\n\nc[^y](d)",
    "|a|b|\n|-|-|\n|1|2|\nwords\n\nmore\n|a|\n|-|\n",
    "a\n|b|\n|-|\n",
    "- a\n\n\n- b\n\n    code\n\n* c\nlazy\n",
    "> a\nlazy\n> - b\n\nc\n    no code\n\n    code\n\n\n    code\n",
    "```a`b\nwords\n```\ncode\n````\n```\nend",
    "~~~ x\n\n ~~~ \n~~~\n~~\n~~~~  \nend\n   ```\n   indented\n  less\n ```",
    "a\r\nb\r\rc\r\n\r\n- d\r",
    "```\n\u2028```\u2028\n```\n",
    "word " * 14_000 + "\n\nend",
    "- item\n" * 10_000 + "\nend",
    "```\n" + "code\n" * 14_000 + "```\nend",
]


@pytest.mark.parametrize("text", TRICKY, ids=lambda text: repr(text[:24]))
def test_where_a_text_is_cut_changes_nothing(page: Page, text: str) -> None:
    for step in (1, 2, 5) if len(text) < 1000 else (9_973, 40_009):
        grown, whole, _, _ = page.evaluate(GROW, [text, step])
        assert grown == whole


CODE = """```python
def f(x):
    if x:
# six
        return 2

    return [
        "a",
    ]
```
"""

WATCH_CODE = """async (pieces) => {
  const { MarkdownView } = await import("/static/markdown/view.js");
  const container = document.body.appendChild(document.createElement("div"));
  const view = new MarkdownView(container);
  const shown = [];
  for (const piece of pieces) {
    view.append(piece);
    view.flush();
    shown.push(container.querySelector("pre code")?.textContent ?? "");
  }
  view.end();
  shown.push(container.querySelector("pre code").textContent);
  container.remove();
  return shown;
}"""


@pytest.mark.parametrize("wrap", [lambda code: code, lambda code: "- " + code.replace("\n", "\n  ").rstrip(" ")])
@pytest.mark.parametrize("width", [1, 3, 9, None])
def test_code_is_exact_at_every_moment(page: Page, wrap: Any, width: int | None) -> None:
    text = wrap(CODE)
    if width is None:  # as models cut it: a token begins with the line end and the indent
        starts = [at for at in range(len(text)) if text[at] == "\n"]
        pieces = [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)], strict=True)]
    else:
        pieces = [text[at : at + width] for at in range(0, len(text), width)]
    code = CODE.partition("\n")[2].rpartition("```")[0]
    shown = page.evaluate(WATCH_CODE, pieces)
    assert [part for part in shown if not code.startswith(part.rstrip("\n"))] == []
    assert shown[-1] == code
    longest = 0
    for given, part in zip(range(len(shown)), shown, strict=True):
        longest = max(longest, len(part))
        assert len(part) >= longest - 1  # nothing goes away again, but for a line end
        arrived = len("".join(pieces[: given + 1]).partition("python\n")[2])
        if wrap(CODE) == CODE:
            assert len(part) >= min(arrived, len(code)) - 4  # at most what may close the block is held back


SELECT = """async (rest) => {
  const { MarkdownView } = await import("/static/markdown/view.js");
  const container = document.body.appendChild(document.createElement("div"));
  const view = new MarkdownView(container);
  view.append("First *words* here.\\n\\nSecond **words** here.\\n\\n- an item\\n- another");
  view.flush();
  const select = (node) => getSelection().selectAllChildren(node);
  const results = [];
  for (const selector of ["p em", "li"]) {
    select(container.querySelector(selector));
    const before = String(getSelection());
    for (const character of rest) {
      view.append(character);
      view.flush();
    }
    results.push([before, String(getSelection())]);
  }
  view.end();
  results.push(String(getSelection()));
  container.remove();
  return results;
}"""


def test_a_selection_survives_while_the_text_grows(page: Page) -> None:
    assert page.evaluate(SELECT, " more\n- and\n") == [["words", "words"], ["an item", "an item"], "an item"]


MOVE_ALONG = """async (text) => {
  const { MarkdownView } = await import("/static/markdown/view.js");
  const container = document.body.appendChild(document.createElement("div"));
  let renders = 0;
  const view = new MarkdownView(container, () => renders += 1);
  const started = performance.now();
  for (const character of text) {
    view.append(character);
    if (character === " ") await new Promise((resolve) => setTimeout(resolve));
  }
  const frames = (performance.now() - started) / 16 + 2;
  view.close();
  container.remove();
  return [renders, frames];
}"""


def test_the_open_block_is_rendered_at_most_once_a_frame(page: Page) -> None:
    renders, frames = page.evaluate(MOVE_ALONG, "some words that arrive one by one " * 30)
    assert 0 < renders <= frames
