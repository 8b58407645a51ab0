"""How long the page is held by texts made to hold it: each language and each construct of Markdown, repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

CODE_CHARS = 16 * 1024
"""As much as gets colours."""

BLOCK_CHARS = 32 * 1024
"""As much as is read as one block of Markdown."""


# What expressions of lexers look back and ahead for.
PIECES = [
    *("a", "(", "((", "{", "}", "[", "<", "<a ", "</", '"', "'", "`", "\\", '\\"', "/", "//", "/*", "*/", "#", "--"),
    *(
        "=",
        "=>",
        "->",
        ":",
        "::",
        ";",
        ",",
        ".",
        "$",
        "${",
        "@",
        "&",
        "|",
        "!",
        "?",
        "~",
        "^",
        "%",
        "0",
        "0x",
        "1.",
        "1e",
    ),
    *("1_", "_", "aA", "a.", "a:", "a(", "a (", "a=", "f(x) ", "(a)", "(a,", "((a)", "<a>", "<!--", "<![CDATA[", "<?"),
    *("{{", "}}", "{%", "\n", " ", "\t", "\n ", 'r"', "r#", "$$", "def ", "class A", "function ", "let ", "import "),
    *(
        "template <",
        "A<",
        "a::b::",
        "void f",
        "\n#",
        "\n=",
        "\n-",
        "- a: ",
        "a\n",
        "==",
        "**",
        "__",
        "*a",
        "_a",
        "[a](",
    ),
    *('"a" ', "@a(", "@media ", "a{b:", "a-b", "a b ", "\\n", "\\u{", "\u00e9", "x\0"),
]

CONSTRUCTS = [
    *(
        "a",
        "*",
        "**",
        "_",
        "~~",
        "`",
        "``",
        "*a",
        "**a",
        "_a_",
        "a*b_",
        "*a _b ",
        "~a",
        "`a",
        "\\",
        "\\*",
        "&",
        "&amp;",
    ),
    *(
        "[",
        "]",
        "![",
        "[a]",
        "[a](",
        "[a](b",
        "[a](<",
        "[a](b 'c",
        "](",
        "[[",
        "[a][",
        "[a]: b\n",
        "[a]: ",
        "[^1]",
        "[^a",
    ),
    *(
        "[^1]: a\n",
        "^[",
        "^[a",
        "^[a]",
        "<",
        "<a",
        "<http:",
        "<a@b",
        "http://",
        "www.",
        "www.a.",
        "a@b",
        "a@b.c ",
        "mailto:",
    ),
    *(
        "# ",
        "#",
        "> ",
        ">",
        "- ",
        "1. ",
        "- [ ] a\n",
        "-\n",
        "* a\n",
        "1. a\n",
        ">a\n",
        "> > ",
        "- - ",
        "---\n",
        "===\n",
    ),
    *(
        "```",
        "```\n",
        "~~~\n",
        "    a\n",
        "\t",
        " ",
        "\n",
        "\n\n",
        "a\n",
        "a  \n",
        "| a ",
        "|",
        "|a|\n|-|\n",
        "|-",
        "\n|",
    ),
    *(
        "$",
        "$$",
        "$a$",
        "$a$ ",
        "$$\n",
        "\\(",
        "\\[",
        "\\(a\\)",
        "$\\frac",
        "${",
        "$a_",
        "$\\sqrt{",
        "$\\left(",
        "$a^{",
    ),
    *("(", ")", "((", '"', "'", "--", "...", "\u2028", "é", "👩🏽‍🚀", "\u202e", "a_b", "a-", "-a", ":", "http://a/("),
]

MEASURE = """async ([texts]) => {
  const { showMarkdown } = await import("/static/markdown/view.js");
  const held = [];
  for (const text of texts) {
    let longest = 0, last = performance.now(), isOver = false;
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (!isOver) port2.postMessage(0);
    };
    port2.postMessage(0);
    const place = document.body.appendChild(document.createElement("div"));
    await new Promise((resolve) => setTimeout(resolve));
    longest = 0;
    const view = showMarkdown(place, text);
    while (!view.isComplete) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve));
    isOver = true;
    place.remove();
    held.push(longest);
  }
  return held;
}"""

LANGUAGES = """async () => {
  const { default: hljs } = await import("/static/vendor/highlight.js/highlight.js");
  return hljs.listLanguages();
}"""


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest time that a text held the page, in milliseconds."""

    held_ms: float
    name: str


def constructs(chars: int = BLOCK_CHARS) -> Iterator[tuple[str, str]]:
    """Yield a name and a text for each construct of Markdown: repeated, opened only, and closed only at the end."""
    for piece in CONSTRUCTS:
        yield f"{piece!r} repeated", (piece * (chars // len(piece)))[:chars]
    for one, two in (
        ("*a ", "**b "),
        ("[", "](a)"),
        ("![", "]("),
        ("<", ">"),
        ("`a", "``b"),
        ("$a", "\\(b"),
        ("> ", "- "),
    ):
        half = chars // 2
        yield f"{one!r}, then {two!r}", one * (half // len(one)) + two * (half // len(two))
        yield f"{one!r} and {two!r}", (one + two) * (chars // len(one + two))


def code_blocks(languages: Sequence[str], chars: int = CODE_CHARS) -> Iterator[tuple[str, str]]:
    """Yield a name and a block of code for each language and each piece."""
    for language in languages:
        for piece in PIECES:
            mark = "~~~" if "`" in piece else "```"
            yield f"{language} {piece!r}", f"{mark}{language}\n{piece * (chars // len(piece))}\n{mark}\n"


def languages_of(page: Page) -> list[str]:
    """Return the languages that get colours."""
    found: Any = page.evaluate(LANGUAGES)
    return [str(name) for name in found]


def measure(page: Page, texts: Sequence[tuple[str, str]]) -> list[Stall]:
    """Show texts one after another, and return how long each held the page."""
    held: Any = page.evaluate(MEASURE, [[text for _, text in texts]])
    return [Stall(float(ms), name) for ms, (name, _) in zip(held, texts, strict=True)]
