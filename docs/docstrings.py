"""Turns what this project's docstrings use of reStructuredText into Markdown, for mkdocstrings."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
_BARE = re.compile(r"^[ ]*::[ ]*$", re.MULTILINE)
_POWER = re.compile(r"(?P<code>(?P<mark>`+).*?(?P=mark))|(?<=\w)\*\*(?=\w)", re.DOTALL)
_AFTER_WORDS = re.compile(r"(?<=\S)::[ ]*$", re.MULTILINE)


def to_markdown(text: str) -> str:
    """Write roles as code, let an indented block be one without its double colon, and keep ``2**53`` plain."""
    text = _ROLE.sub(lambda match: f"`{match[1]}`", text)
    text = _POWER.sub(lambda match: match["code"] or r"\*\*", text)
    return _AFTER_WORDS.sub(":", _BARE.sub("", text))


class Docstrings(Extension):
    """Is applied to everything that has a docstring."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
