"""Colours for code, by Pygments."""

from __future__ import annotations

from html import escape
from importlib import import_module
from typing import Any

__all__ = ["colour"]

MOST_CHARS = 8 * 1024
"""Code that is longer is shown in one colour, as colouring takes long."""

# Pygments has no types. It says with short classes what a piece of code is; the page's style sheet colours them.
_PYGMENTS: Any = import_module("pygments")
_LEXERS: Any = import_module("pygments.lexers")
_UNKNOWN: Any = import_module("pygments.util").ClassNotFound
_FORMATTER: Any = import_module("pygments.formatters").HtmlFormatter(nowrap=True, classprefix="tok-")


def colour(code: str, language: str) -> str:
    """Return code as HTML: escaped, with spans where the language is known."""
    if not language or len(code) > MOST_CHARS:
        return escape(code)
    try:
        lexer = _LEXERS.get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except _UNKNOWN:
        return escape(code)
    return str(_PYGMENTS.highlight(code, lexer, _FORMATTER))
