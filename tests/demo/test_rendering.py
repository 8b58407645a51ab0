"""What a model writes, as elements of the page: nothing in it may act, and nothing may be lost."""

from __future__ import annotations

import re
from html import unescape

import pytest
from playwright.sync_api import Page

from .rendering import RICH, render, words

pytestmark = pytest.mark.browser

LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** `b` ~~c~~", "<p><strong>a</strong> <code>b</code> <s>c</s></p>\n"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>\n"),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>\n"),
        ("[a](https://example.com)", f'<p><a href="https://example.com" {LINK}>a</a></p>\n'),
        ("[a](mailto:a@example.com)", f'<p><a href="mailto:a@example.com" {LINK}>a</a></p>\n'),
        ("[a](//example.com/x)", "<p><a>a</a></p>\n"),
        ("[a](/api/about) [b](#c) [c](ftp://d.example)", "<p><a>a</a> <a>b</a> <a>c</a></p>\n"),
        (
            '![a "b"](https://example.com/x.png)',
            f'<p><a href="https://example.com/x.png" {LINK}>a "b"</a></p>\n',
        ),
        ("words\n---\nmore", "<p>words</p>\n<hr>\n<p>more</p>\n"),
        ("a\r\nb\rc\n\rd", "<p>a\nb\nc</p>\n<p>d</p>\n"),
        ("$$\nx\n\nwords **b**\n\n$$", "<p>$$\nx</p>\n<p>words <strong>b</strong></p>\n<p>$$</p>\n"),
        ("words\n\n## ", "<p>words</p>\n<p>##</p>\n"),
        ("# \n\n## &nbsp;\n\n### x", "<p>#</p>\n<p>##&nbsp;</p>\n<h3>x</h3>\n"),
        ("[](https://a.example)", f'<p><a href="https://a.example" {LINK}>https://a.example</a></p>\n'),
        ("", ""),
        (" \n\t\n", ""),
    ],
)
def test_markdown(page: Page, text: str, html: str) -> None:
    assert render(page, text) == [html]


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("https://example.com/a_b?c=d.", {"https://example.com/a_b?c=d"}),
        ("(http://example.com)", {"http://example.com"}),
        ("www.example.com/x, www.example", {"http://www.example.com/x", "http://www.example"}),
        ("mail a.b@example.com", {"mailto:a.b@example.com"}),
        ("main.py README.md example.com ftp://example.com //example.com file:///etc/passwd 127.0.0.1", set()),
        ("`https://example.com`", set()),
        ("javascript:alert(1) data:text/html,x vbscript:x", set()),
    ],
)
def test_bare_urls(page: Page, text: str, linked: set[str]) -> None:
    assert set(re.findall(r'href="([^"]*)"', render(page, text)[0])) == linked


def test_tables_are_aligned_without_inline_styles(page: Page) -> None:
    (html,) = render(page, "| a | b |\n| :-- | --: |\n| 1 | 2 |")
    assert '<th align="left">a</th>' in html
    assert '<td align="right">2</td>' in html
    assert "style" not in html


def test_the_head_of_a_column_without_words_is_a_cell(page: Page) -> None:
    (html,) = render(page, "| | b |\n| --: | --- |\n| 1 | 2 |")
    assert '<tr>\n<td align="right"></td>\n<th>b</th>\n</tr>' in html


def test_code_is_coloured_where_the_language_is_known(page: Page) -> None:
    known, unknown, bad = render(
        page, "```python\ndef f(): ...\n```", "```klingon\ndef f(): ...\n```", '```"><script>\nx </code>\n```'
    )
    assert '<span class="hljs-keyword">def</span>' in known
    assert "<span" not in unknown
    assert '<pre data-language="klingon" tabindex="0"><code>def f(): ...\n</code></pre>' in unknown
    assert '<pre data-language=""><script>" tabindex="0"><code>x </code>\n</code></pre>' in unescape(bad)
    assert "<script>" not in re.sub(r'"[^"]*"', "", bad)


def test_task_lists(page: Page) -> None:
    (html,) = render(page, "- [ ] to do\n- [x] done\n- [y] neither\n\n[ ] no list")
    assert '<li class="task"><input type="checkbox" disabled="" aria-label="To do">to do</li>' in html
    assert '<li class="task"><input type="checkbox" disabled="" checked="" aria-label="Done">done</li>' in html
    assert "<li>[y] neither</li>" in html
    assert "<p>[ ] no list</p>" in html


def test_footnotes_are_numbered_and_each_text_has_its_own(page: Page) -> None:
    text = "a[^x] b[^y] c[^x] d[^none]\n\n[^y]: Why\n[^x]: Ex\n[^never]: Not referred to"
    one, other = render(page, text, text)
    assert re.sub(r"<[^>]*>", "", one).split("\n") == ["a1 b2 c1 d[^none]", "", "", "", "Ex ↩↩", "Why ↩", ""]
    ids = re.findall(r'id="([^"]*)"', one + other)
    assert len(ids) == len(set(ids)) == 10
    assert set(re.findall(r'href="#([^"]*)"', one + other)) == set(ids)


FORMULAS = {
    "$x^2$": True,
    r"\(a\,b\)": True,
    "$$x$$": True,
    r"\[x\]": True,
    "$$\nx\n- y\n$$": True,
    "\\[\nx\n\n": False,
    "text\n\\[\nx\n\\]\nmore": True,
    "- a\n\n  $$\n  x\n  $$": True,
    "($x$)": True,
    "设$x$为": True,
    "$5 and $10": False,
    "$5-$10": False,
    "from 5$ to 6$": False,
    "US$5 and C$6": False,
    "$ x$ and $x $": False,
    r"\$x$": False,
    "`$x$`": False,
    "```\n$x$\n```": False,
    "$x": False,
    "$$": False,
    "$a$5": False,
}


@pytest.mark.parametrize(("text", "is_formula"), FORMULAS.items())
def test_formulas(page: Page, text: str, is_formula: bool) -> None:
    (html,) = render(page, text)
    assert ("<math" in html) == is_formula
    if not is_formula and "`" not in text:
        assert re.sub(r"\s", "", words(page, text)) == re.sub(r"\s", "", text.replace(r"\$", "$").replace(r"\[", "["))


def test_what_is_no_formula_is_shown_as_it_is(page: Page) -> None:
    text = r"$\nonsense{x}$ and $" + "x" * 5000 + r"$ and $\def\a{\a\a}\a$ and $" + "{" * 3000 + "}" * 3000 + "$"
    (html,) = render(page, text)
    assert "<math" not in html
    assert words(page, text).strip() == text


def test_formulas_keep_their_styles_and_no_others(page: Page) -> None:
    (html,) = render(page, r"$\begin{cases}1\\2\end{cases}$ $\textcolor{red}{x}$ $\href{javascript:alert(1)}{x}$")
    styles = re.findall(r'style="([^"]*)"', html)
    assert any("padding-left: 0em" in style for style in styles)
    assert "color: rgb(255, 0, 0);" in styles
    assert "href" not in html.replace(r"\href", "")
    assert "data-style" not in html


def test_addresses_of_links_may_come_later(page: Page) -> None:
    (html,) = render(page, "[a] [b][a] [c]\n\n- [A]: https://example.com 'T'\n\n[a]: https://other.example")
    link = f'<a href="https://example.com" title="T" {LINK}>'
    assert html.startswith(f"<p>{link}a</a> {link}b</a> [c]</p>")


LARGE = {
    "paragraphs": "A *paragraph* of some words.\n\n" * 1500,
    "list": "# Title\n\n" + "- an item of a list\n" * 8000 + "\nThe end.",
    "code": "```\n" + "code\n" * 40_000 + "```\n\nThe end.",
    "coloured code": "```python\n" + "if code: pass\n" * 20_000 + "```\n\nThe end.",
    "a single line": "word " * 40_000,
    "brackets and cells": "[" * 3000 + "> " * 3000 + "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|x\n" * 3000,
    "tables": "|a|b\n|-|-\n# The end\n" * 1500,
    "cells": ("|a" * 250 + "\n" + "|-" * 250 + "\n" + "|word\n" * 38 + "\n") * 8,
    "rows": "|a|b\n|-|-\n" + "|word|word\n" * 8000,
    "formulas": "word $x$ " * 5000,
    "links": "[word](b " * 10_000,
    "addresses": "https://example.com/word " * 3000,
    "footnotes": "word[^a] " * 3000 + "\n\n[^a]: The end",
}


@pytest.mark.parametrize("name", LARGE)
def test_long_and_strange_texts_keep_their_words_and_stay_small(page: Page, name: str) -> None:
    text = LARGE[name]
    shown = words(page, text)
    for word in ("paragraph", "an item of a list", "code", "word", "The end", "["):
        if word != "[" or name not in ("links", "footnotes"):
            assert shown.count(word) == text.count(word)
    (html,) = render(page, text)
    assert len(html) < 40 * len(text)


PLAIN = RICH.replace("[^", "[").replace("[ref]", "")  # nothing in it is rendered again when more comes

GROW_TO_THE_END = """async ([text, step]) => {
  const { MarkdownView } = await import("/static/markdown/view.js");
  const parse = DOMParser.prototype.parseFromString;
  let characters = 0;
  DOMParser.prototype.parseFromString = function (html, type) {
    characters += String(html).length;
    return parse.call(this, html, type);
  };
  const { append } = Element.prototype;
  Element.prototype.append = function (...nodes) {
    nodes.forEach((node) => (characters += typeof node === "string" ? node.length : 0));
    return append.apply(this, nodes);
  };
  const { appendData } = CharacterData.prototype;
  CharacterData.prototype.appendData = function (data) {
    characters += data.length;
    return appendData.call(this, data);
  };
  const view = new MarkdownView(document.createElement("div"));
  for (let at = 0; at < text.length; at += step) {
    view.append(text.slice(at, at + step));
    view.flush();
  }
  view.end();
  while (!view.isComplete) await new Promise((resolve) => setTimeout(resolve));
  DOMParser.prototype.parseFromString = parse;
  Element.prototype.append = append;
  CharacterData.prototype.appendData = appendData;
  return characters;
}"""


@pytest.mark.parametrize(
    ("one", "two", "step"),
    [
        (PLAIN * 10, PLAIN * 20, 32),
        ("```python\n" + "x = 1  # code\n" * 4000, "```python\n" + "x = 1  # code\n" * 8000, 256),
    ],
    ids=["blocks", "code"],
)
def test_a_reply_twice_as_long_is_twice_the_work(page: Page, one: str, two: str, step: int) -> None:
    """Count the characters of HTML and code that become elements: four times as many if all were rendered each time."""
    work, more = (page.evaluate(GROW_TO_THE_END, [text, step]) for text in (one, two))
    assert work > 0
    assert more < 2.2 * work
