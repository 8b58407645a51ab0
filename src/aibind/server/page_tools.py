"""Tools that a request brings with it, which the page runs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .._json import is_list, is_object
from ..errors import RequestError
from .tools import Tool

__all__ = ["MAX_PAGE_TOOLS", "parse_page_tools", "with_page_tools"]

MAX_PAGE_TOOLS = 128
"""The limit of the tools in one request: endpoints take no more functions."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def parse_page_tools(value: object) -> tuple[Tool, ...]:
    """Return the tools of a list of ``{"name", "description"?, "parameters"?}``. Raises RequestError."""
    if value is None:
        return ()
    if not is_list(value) or len(value) > MAX_PAGE_TOOLS:
        raise RequestError(f"tools must be a list of at most {MAX_PAGE_TOOLS} tools that the page runs")
    tools = {tool.name: tool for tool in map(_tool, value)}
    if len(tools) < len(value):
        raise RequestError("tools has two of one name: give each tool its own")
    return tuple(tools.values())


def with_page_tools(tools: Sequence[Tool], page_tools: Sequence[Tool]) -> Sequence[Tool]:
    """Return tools with those of the page, which cannot take the place of one that runs here."""
    if not page_tools:
        return tools
    names = {tool.name for tool in tools}
    return [*tools, *(tool for tool in page_tools if tool.name not in names)]


def _tool(value: object) -> Tool:
    name = value.get("name") if is_object(value) else None
    if not is_object(value) or not isinstance(name, str) or not _NAME.match(name):
        raise RequestError("Each of tools needs a name of 1 to 64 letters, digits or characters of _.-")
    description, parameters = value.get("description"), value.get("parameters")
    if not isinstance(description, str | None):
        raise RequestError(f'Tool "{name}" has a description that is not a string')
    if parameters is None:
        return Tool(name, description or "", None)
    if not is_object(parameters):
        raise RequestError(f'Tool "{name}" has parameters that are not a JSON schema, which is an object')
    return Tool(name, description or "", None, parameters)
