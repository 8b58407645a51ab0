"""Descriptions of values for errors about a wrong one."""

from __future__ import annotations

import inspect

__all__ = ["kind_of"]


def kind_of(value: object) -> str:
    """Return what a value is, for a sentence that begins with its name: a function, a class, or of a type."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.iscoroutinefunction(value):
        return "a coroutine function"
    if inspect.isgeneratorfunction(value):
        return "a generator function"
    return "a function" if inspect.isroutine(value) else f"of type {type(value).__name__}"
