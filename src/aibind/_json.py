"""Tells the kinds of parsed JSON apart, for people and type checkers alike."""

from __future__ import annotations

from typing import Any, TypeGuard

__all__ = ["is_list", "is_object"]


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Say whether ``value`` is a JSON array."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether ``value`` is a JSON object."""
    return isinstance(value, dict)
