"""Texts as the page shows them: rendered by its own modules, in the browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# Both leave out what the page puts above code.
_RENDER = """async (texts) => {
  const { showMarkdown } = await import("/static/markdown/view.js");
  return Promise.all(texts.map(async (text) => {
    const place = document.body.appendChild(document.createElement("div"));
    const view = showMarkdown(place, text);
    while (!view.isComplete) await new Promise((resolve) => setTimeout(resolve));
    place.querySelectorAll(".code-head").forEach((element) => element.remove());
    const html = place.innerHTML;
    const words = place.textContent;
    place.remove();
    return [html, words];
  }));
}"""

RICH = r"""# A *title*

Some **bold** words, ~~old~~ ones[^why], a list:

- one `code`
- two 👋🏽 👩🏽‍🚀
  - three

1. first
2. second

- [x] written
- [ ] read

| Name | Height |
| :--- | -----: |
| Pharos | 103 m |
| Eddystone | 49 m |

```python
def f(x: int) -> str:
# six
    return "```" * x
```

> quoted
> twice

Inline $e^{i\pi} + 1 = 0$ and \(a\,b\), for $5 to $10, and

$$
\int_0^1 x^2 \, dx = \frac{1}{3}
- 0
$$

See [the reference][ref], https://example.com/a_b and main.py.[^why][^two]

[ref]: https://example.com/reference "A title"
[^why]: Because of *this*.
[^two]: And of that,

    in two paragraphs.

And this is the end
"""

LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitän" * 20

REPLIES = {
    "empty": [""],
    "long": [
        LONG_WORD,
        (
            f"\n\n`{LONG_WORD}`\n\n```\n{LONG_WORD}\n```\n\n| a | {LONG_WORD} |\n| --- | --- |\n| b | c |\n"
            f"\n$${'x + ' * 200}x$$\n\nhttps://example.com/{LONG_WORD}"
        ),
    ],
    "rtl": ["مرحبا بالعالم، ", "هذا نص طويل.\n\n", "And English. 👩‍👩‍👧‍👦 \u202ereversed\u202c \x00 e\u0301\n"],
    "rich": [RICH[at : at + 5] for at in range(0, len(RICH), 5)],
}
"""What recorded models say, in pieces."""


def render(page: Page, *texts: str) -> list[str]:
    """Return the HTML of texts."""
    return [html for html, _ in page.evaluate(_RENDER, list(texts))]


def words(page: Page, text: str) -> str:
    """Return the words of a text as they are shown."""
    shown: Any = page.evaluate(_RENDER, [text])
    return str(shown[0][1])
