"""How long the page is held by texts made to hold it: each language and each construct of Markdown, repeated."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Page

CODE_CHARS = 16 * 1024
"""As much as gets colours."""

BLOCK_CHARS = 32 * 1024
"""As much as is read as one block of Markdown."""

CATEGORIES = ["blink.user_timing", "devtools.timeline", "disabled-by-default-devtools.timeline"]


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

SHOW = """async ([texts, pieces]) => {
  const { MarkdownView } = await import("/static/markdown/view.js");
  const turn = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
  document.getElementById("welcome").hidden = true;
  for (const [index, text] of texts.entries()) {
    const message = document.getElementById("messages").appendChild(document.createElement("article"));
    message.className = "message assistant";
    const place = message.appendChild(document.createElement("div"));
    place.className = "text markdown";
    await turn();
    performance.mark(`begin ${index}`);
    await turn();
    const view = new MarkdownView(place);
    const length = Math.ceil(text.length / pieces);
    for (let at = 0; at < text.length; at += length) {
      view.append(text.slice(at, at + length));
      if (pieces > 1) await turn(16);
    }
    view.end();
    while (!view.isComplete) await turn(5);
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    await turn();
    performance.mark(`end ${index}`);
    message.remove();
    await turn();
  }
}"""

LANGUAGES = """async () => {
  const { default: hljs } = await import("/static/vendor/highlight.js/highlight.js");
  return hljs.listLanguages();
}"""


@dataclass(frozen=True, slots=True, order=True)
class Stall:
    """The longest task of the page's thread for a text, in milliseconds.

    ``cpu_ms`` is what the thread worked, ``wall_ms`` includes what other processes took meanwhile, and ``inner`` names
    what took most of the longest task.
    """

    cpu_ms: float
    wall_ms: float
    name: str
    inner: str = ""


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


def measure(browser: Browser, page: Page, texts: Sequence[tuple[str, str]], pieces: int = 1) -> list[Stall]:
    """Show texts one after another, each in so many pieces, and return the longest task of the page's thread for each.

    The browser's own trace tells them, with the time for which the thread ran: a busy machine does not lengthen that.
    """
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.evaluate(SHOW, [[text for _, text in texts], pieces])
    events: list[Any] = json.loads(browser.stop_tracing())["traceEvents"]
    marks = {event["name"]: event for event in events if event.get("cat") == "blink.user_timing"}
    thread = _thread(marks["begin 0"])
    ours = [event for event in events if _thread(event) == thread and event.get("ph") == "X"]
    tasks = [event for event in ours if event["name"] == "RunTask"]
    found: list[Stall] = []
    for index, (name, _) in enumerate(texts):
        start, end = marks[f"begin {index}"]["ts"], marks[f"end {index}"]["ts"]
        own = [task for task in tasks if start < task["ts"] < end]
        longest = max(own, key=lambda task: float(task.get("tdur", 0)))
        wall_us = max(float(task["dur"]) for task in own)
        found.append(Stall(longest.get("tdur", 0) / 1000, wall_us / 1000, name, _within(ours, longest)))
    return found


def _thread(event: Any) -> tuple[int, int]:
    return event["pid"], event["tid"]


def _within(events: list[Any], task: Any) -> str:
    """Name what took most of a task."""
    times: Counter[str] = Counter()
    for event in events:
        if event is not task and task["ts"] <= event["ts"] < task["ts"] + task["dur"]:
            times[event["name"]] += event.get("tdur", 0)
    return ", ".join(f"{name} {us / 1000:.0f}" for name, us in times.most_common(3))
