"""A model's Markdown as HTML that is safe to show: rendered by markdown-it-py, then sanitised by nh3.

Raw HTML in the text stays text, links are not guessed, pictures become links (a page that fetched them would tell
their host who reads what), and addresses other than http, https and mailto go away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock, table
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from .colours import colour

__all__ = ["Part", "render_part", "render_text"]

BLOCK_CHARS = 32 * 1024
"""Text is rendered in windows of so many characters, so that one long text does not hold up all streams."""

LARGEST_BLOCK_CHARS = 4 * BLOCK_CHARS
"""A single block that is larger, such as a line without an end, is shown as it is."""

MOST_CELLS = 20_000


@dataclass(frozen=True, slots=True)
class Part:
    """Is the beginning of a text that may still grow, as HTML.

    ``settled`` is what no further text can change any more, made of the first ``lines`` lines; ``rest`` is the block
    that is still growing.
    """

    settled: str
    lines: int
    rest: str


def render_part(text: str) -> Part:
    """Render a text that may still grow."""
    text = _encodable(text)
    if len(text) > LARGEST_BLOCK_CHARS:
        return Part("", 0, _plain(text))
    tokens = _MARKDOWN.parse(text)
    last = next((i for i in range(len(tokens) - 1, -1, -1) if tokens[i].level == 0 and tokens[i].nesting >= 0), 0)
    place = tokens[last].map if tokens else None
    return Part(_html(tokens[:last]), place[0] if place else 0, _html(tokens[last:]))


async def render_text(text: str) -> str:
    """Render a whole text, letting other tasks run between its parts."""
    text = _encodable(text)
    if len(text) <= BLOCK_CHARS:
        return _render_cached(text)
    done: list[str] = []
    start, size = 0, BLOCK_CHARS
    while start < len(text):
        await asyncio.sleep(0)
        end = start + size
        if end >= len(text):
            done.append(_html(_MARKDOWN.parse(text[start:])))
            break
        part = render_part(text[start:end])
        if part.lines:
            done.append(part.settled)
            for _ in range(part.lines):
                start = text.index("\n", start) + 1
            size = BLOCK_CHARS
        elif size < LARGEST_BLOCK_CHARS:  # one block fills the window
            size *= 2
        else:
            done.append(_plain(text[start:end]))
            start, size = end, BLOCK_CHARS
    return "".join(done)


@lru_cache(maxsize=512)
def _render_cached(text: str) -> str:
    return _html(_MARKDOWN.parse(text))


def _encodable(text: str) -> str:
    """Replace half characters, one for one: neither the sanitiser nor UTF-8 takes them."""
    return text.encode("utf-8", "replace").decode()


def _plain(text: str) -> str:
    return f"<pre><code>{escape(text, quote=False)}</code></pre>\n"


def _html(tokens: Sequence[Token]) -> str:
    return _CLEANER.clean(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})) if tokens else ""


# --- rendering -------------------------------------------------------------------------------------------------------


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, __: OptionsDict, ___: EnvType) -> str:
    """Render a block of code, with its language for the page to show."""
    token = tokens[index]
    language = token.info.strip().split(maxsplit=1)[0] if token.info.strip() else ""
    return f'<pre data-language="{escape(language[:24])}"><code>{colour(token.content, language)}</code></pre>\n'


def _picture(_: RendererHTML, tokens: Sequence[Token], index: int, __: OptionsDict, ___: EnvType) -> str:
    """Render a picture as a link to it."""
    token = tokens[index]
    name = token.content or "picture"
    return f'<a href="{escape(str(token.attrs.get("src", "")))}">{escape(name)}</a>'


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, _: EnvType) -> str:
    """Render the beginning of a table's cell: its alignment as an attribute, since inline styles are forbidden."""
    token = tokens[index]
    style = str(token.attrs.pop("style", ""))
    if style.startswith("text-align:"):
        token.attrSet("align", style.removeprefix("text-align:"))
    return renderer.renderToken(tokens, index, options, {})


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table, unless a few characters would make millions of cells: missing ones are added to each row."""
    columns = state.src[state.bMarks[start] : state.eMarks[start]].count("|") + 1
    return columns * (end - start) <= MOST_CELLS and table(state, start, end, silent)


def _make_markdown() -> MarkdownIt:
    # What is nested deeper is left out; and the more levels, the longer do thousands of open brackets take.
    options = {"html": False, "linkify": False, "maxNesting": 40}
    markdown = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    markdown.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    # A paragraph that is followed by a list would flash up as a heading when the first "-" arrives.
    markdown.disable("lheading")
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("image", _picture)
    markdown.add_render_rule("th_open", _cell)
    markdown.add_render_rule("td_open", _cell)
    return markdown


# --- what may be in the page -----------------------------------------------------------------------------------------

_BLOCKS = {"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "ul"}
_TABLES = {"table", "tbody", "td", "th", "thead", "tr"}
_WORDS = {"a", "br", "code", "em", "s", "span", "strong"}
_ATTRIBUTES: Mapping[str, set[str]] = {
    "a": {"href", "title"},
    "ol": {"start"},
    "pre": {"data-language"},
    "span": {"class"},
    "td": {"align"},
    "th": {"align"},
}
_CLEANER = nh3.Cleaner(
    tags=_BLOCKS | _TABLES | _WORDS,
    attributes=dict(_ATTRIBUTES),
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)
_MARKDOWN = _make_markdown()
