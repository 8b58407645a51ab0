"""Any text at all: only what is allowed gets into the page, and how a text arrives changes nothing.

``AIBIND_FUZZ`` is how many batches of texts are tried; 10 by default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

BATCHES = int(os.environ.get("AIBIND_FUZZ", "10"))

CHECK = (Path(__file__).parent / "check_rendering.js").read_text(encoding="utf-8")

MARKDOWN = [
    *("#", "## ", "> ", "- ", "* ", "1. ", "2) ", "   ", "    ", "\t", "\n", "\n\n", "\n    ", "\r\n", "\r", " \n"),
    *("*", "**", "_", "~~", "`", "``", "```", "```py\n", "\n```\n", "~~~", "\\", "---", "***", "===", "![", "[", "]"),
    *("(", ")", "](", "]: ", "[a]: ", "[a]", "[^1]", "[^1]: ", "[^b]", "[^b]: ", "^[", "[ ] ", "[x] ", "- [x] "),
    *("|", "|a|b|\n|-|-|\n", "| :-: |", "|-", "||||", "$", "$$", "$$\n", "\\[", "\\]", "\\(", "\\)", "$x$", "\n$$\n"),
    *("https://example.com", "www.example.com/", "a@b.example", "<https://a.b>", "&amp;", "&#x3c;", "&lt;", "\0"),
    *("one ", "two", " three ", "def f(): ", "'t'", '"t"', "\u2028", "\ufeff", "👩🏽‍🚀", "\ud83d", "\u202e", "é"),
]
ATTACKS = [
    *("<script>canary=1</script>", "<img src=x onerror=canary=1>", "<svg onload=canary=1>", "<iframe srcdoc='<p>'>"),
    *("[a](javascript:canary=1)", "[a](JaVaScRiPt:canary=1)", "[a](java\tscript:canary=1)", "<javascript:canary=1>"),
    *("[a](data:text/html,<script>canary=1</script>)", "[a]: javascript:canary=1\n", "![a](javascript:canary=1)"),
    *('[a](https://x.example/" onclick="canary=1)', '```"><img/src=x/onerror=canary=1>\n', '[a](http://x "\' onx=")'),
    *("[a](#x-note-1)", "[a](//evil.example)", "[a](vbscript:x)", "&#106;avascript:canary=1", "<style>*{x:y}</style>"),
    *("</div></section>", "<div data-note=0>", "<sup data-note=1>", "<!--", "-->", "<![CDATA[", "]]>", "<math><mtext>"),
    *(
        "<math><mi xlink:href='javascript:canary=1'>",
        "<mglyph>",
        "<annotation-xml encoding='text/html'><img onerror=x>",
    ),
    *("$\\href{javascript:canary=1}{x}$", "$\\text{<img src=x onerror=canary=1>}$", "$\\class{a}{x}$", "$\\id{a}{x}$"),
    *("$\\style{color:red;background:url(//x)}{x}$", "$\\includegraphics{//x.example/a.png}$", "$\\url{javascript:x}$"),
    *(
        "$\\data{a=b}{x}$",
        "$\\color{url(x)}x$",
        "$\\textcolor{#f00}{x}$",
        "$\\rule{999em}{999em}$",
        "$\\def\\a{\\a}\\a$",
    ),
    *("$\\begin{cases}a\\\\b\\end{cases}$", "$\\frac", "{", "}", "\\begin{matrix}", "$\\tag{<b>}$", "$\\bbox[//x]{y}$"),
]

pieces = st.one_of(st.sampled_from(MARKDOWN), st.sampled_from(MARKDOWN), st.sampled_from(ATTACKS), st.text(max_size=6))
texts = st.one_of(st.lists(pieces, min_size=2, max_size=25).map("".join), st.text(min_size=1, max_size=80))
cases = st.tuples(texts, st.lists(st.floats(0, 1), max_size=8))


def smallest(page: Page, text: str, cuts: list[float]) -> list[Any]:
    """Shorten a text while it still has a fault; the batch that it comes from is slow to shrink."""
    faults: list[Any] = page.evaluate(CHECK, [[text, cuts]])
    width = max(1, len(text) // 2)
    while faults and width:
        for at in range(0, len(text), width):
            shorter = text[:at] + text[at + width :]
            if found := page.evaluate(CHECK, [[shorter, cuts]]):
                text, faults = shorter, found
                break
        else:
            width //= 2
    return faults


@given(batch=st.lists(cases, min_size=20, max_size=20))
@settings(max_examples=BATCHES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_any_text(page: Page, batch: list[tuple[str, list[float]]]) -> None:
    faults: list[Any] = page.evaluate(CHECK, [list(case) for case in batch])
    assert [smallest(page, *case) for case in batch if faults] == ([[]] * len(batch) if faults else [])
    assert faults == []
