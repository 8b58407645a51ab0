"""What a model writes, as HTML: nothing in it may act, and nothing may be lost."""

from __future__ import annotations

import re

import pytest

from aibind.demo.markdown import BLOCK_CHARS, LARGEST_BLOCK_CHARS, render_part, render_text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** `b` ~~c~~", "<p><strong>a</strong> <code>b</code> <s>c</s></p>\n"),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>\n"),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>\n"),
        ("https://example.com", "<p>https://example.com</p>\n"),
        (
            "[a](https://example.com)",
            '<p><a href="https://example.com" target="_blank" rel="noopener noreferrer nofollow">a</a></p>\n',
        ),
        ("[a](//example.com/x)", '<p><a target="_blank" rel="noopener noreferrer nofollow">a</a></p>\n'),
        ("[a](/api/about)", '<p><a target="_blank" rel="noopener noreferrer nofollow">a</a></p>\n'),
        (
            '![a "b"](https://example.com/x.png)',
            '<p><a href="https://example.com/x.png" target="_blank" rel="noopener noreferrer nofollow">a "b"</a></p>\n',
        ),
        ("words\n---\nmore", "<p>words</p>\n<hr>\n<p>more</p>\n"),
        ('```"><script>\nx\n```', '<pre data-language="&quot;&gt;&lt;script&gt;"><code>x\n</code></pre>\n'),
        ("```\n</code><script>\n```", '<pre data-language=""><code>&lt;/code&gt;&lt;script&gt;\n</code></pre>\n'),
    ],
)
async def test_markdown(text: str, html: str) -> None:
    assert await render_text(text) == html


async def test_tables_are_aligned_without_inline_styles() -> None:
    html = await render_text("| a | b |\n| :-- | --: |\n| 1 | 2 |")
    assert '<th align="left">a</th>' in html
    assert '<td align="right">2</td>' in html
    assert "style" not in html


async def test_code_is_coloured_where_the_language_is_known() -> None:
    assert '<span class="tok-k">def</span>' in await render_text("```python\ndef f(): ...\n```")
    assert "<span" not in await render_text("```klingon\ndef f(): ...\n```")


def test_the_growing_part_is_told_from_what_is_settled() -> None:
    part = render_part("# One\n\nTwo **bold** \n\n- three\n- four")
    assert part.settled == "<h1>One</h1>\n<p>Two <strong>bold</strong></p>\n"
    assert part.rest == "<ul>\n<li>three</li>\n<li>four</li>\n</ul>\n"
    assert part.lines == 4
    assert render_part("") == render_part(" \n")


@pytest.mark.parametrize(
    "text",
    [
        "A *paragraph* of some words.\n\n" * (2 * BLOCK_CHARS // 30),
        "# Title\n\n" + "- an item of a list\n" * (2 * BLOCK_CHARS // 20) + "\nThe end.",
        "```\n" + "code\n" * BLOCK_CHARS + "```\n\nThe end.",
        "word " * BLOCK_CHARS,
        "[" * 3000 + "> " * 3000 + "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|x\n" * 3000,
    ],
    ids=["paragraphs", "list", "code", "a single line", "brackets and cells"],
)
async def test_long_and_strange_texts_keep_their_words(text: str) -> None:
    html = await render_text(text)
    shown = re.sub(r"<[^>]*>", "", html)
    for word in ("paragraph", "an item of a list", "code", "word", "The end", "["):
        if word in text and len(text) < LARGEST_BLOCK_CHARS:
            assert shown.count(word) == text.count(word)
        assert (word in text) == (word in shown)
    assert len(html) < 12 * len(text)
