"""An extension for mkdocstrings: rewrites the reStructuredText of this project's docstrings into Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
_BARE = re.compile(r"^[ ]*::[ ]*$", re.MULTILINE)
_POWER = re.compile(r"(?P<code>(?P<mark>`+).*?(?P=mark))|(?<=\w)\*\*(?=\w)", re.DOTALL)
_AFTER_WORDS = re.compile(r"(?<=\S)::[ ]*$", re.MULTILINE)

CONTRACT = re.compile(r"\bcontract,\s+(?:section\s+(?P<one>\d+)|sections\s+(?P<first>\d+)\s+and\s+(?P<second>\d+))")
"""How a docstring refers to the page ``contract.md``: ``contract, section 3`` or ``contract, sections 2 and 3``."""

_SECTION = re.compile(r"^## (?P<number>\d+)\. (?P<title>.+)$", re.MULTILINE)


def read_sections() -> dict[str, str]:
    """Return the anchors of the contract's sections by their numbers."""
    text = Path(__file__).with_name("contract.md").read_text(encoding="utf-8")
    return {
        found["number"]: re.sub(r"[^\w]+", "-", f"{found['number']}-{found['title']}").lower()
        for found in _SECTION.finditer(text)
    }


_sections = read_sections()


def to_markdown(text: str) -> str:
    """Write roles as code, link to the contract, drop the double colon of code blocks, and keep ``2**53`` plain."""
    text = _ROLE.sub(lambda match: f"`{match[1]}`", text)
    text = CONTRACT.sub(_link, text)
    text = _POWER.sub(lambda match: match["code"] or r"\*\*", text)
    return _AFTER_WORDS.sub(":", _BARE.sub("", text))


def _link(match: re.Match[str]) -> str:
    if match["one"]:
        return f"[contract, section {match['one']}][{_sections[match['one']]}]"
    first, second = match["first"], match["second"]
    return f"contract, sections [{first}][{_sections[first]}] and [{second}][{_sections[second]}]"


class Docstrings(Extension):
    """The extension, which griffe calls for every object."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the object's docstring, if it has one."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
