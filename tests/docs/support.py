"""Reading the project's Markdown: its code blocks, links and headings."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^(?P<mark>```+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=mark)[ ]*$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (run|prints|worker|example) -->\n\Z")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^()\s<>]+)>?\)")
_HEADING = re.compile(r"^#{1,6} (.+?) *$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block; ``line`` is where its code begins, ``mark`` the comment before it."""

    page: Path
    line: int
    language: str
    code: str
    mark: str | None
    printed: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks: list[Block] = []
    for fence in _FENCE.finditer(text):
        marked = _MARK.search(text, 0, fence.start())
        line = text.count("\n", 0, fence.start("code")) + 1
        block = Block(page, line, fence["language"], fence["code"], marked[1] if marked else None)
        if block.mark == "prints":
            blocks[-1].printed.append(block.code)
        else:
            blocks.append(block)
    return blocks


def parse_python(source: str) -> ast.Module:
    """Parse a module, once more where CPython 3.11 loses count because another thread parses at the same time."""
    try:
        return ast.parse(source)
    except SystemError:
        return ast.parse(source)


def prose_of(page: Path) -> str:
    """Return a page's text without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def read_links(page: Path) -> list[str]:
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose_of(page)))


def read_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as both Python-Markdown and GitHub make them."""
    found = set()
    for heading in _HEADING.findall(prose_of(page)):
        plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
        found.add(re.sub(r"[\s-]+", "-", plain))
    return found
