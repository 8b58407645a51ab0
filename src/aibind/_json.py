"""Strict JSON, read and written, and type guards for parsed values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeGuard

__all__ = ["compact_json", "is_list", "is_object", "load_json", "scan_json"]


def load_json(text: str | bytes | bytearray) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for text that is not JSON, and for NaN, Infinity and numbers that overflow, which browsers and
    other services refuse; RecursionError for a value that is nested too deep.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def compact_json(value: Any) -> str:
    """Return a value as JSON without spaces, and with non-ASCII characters as they are.

    Raises ValueError for NaN and Infinity, and TypeError for a value that JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether ``value`` is a JSON array."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


_decoder: Any = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)

scan_json: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once
"""Return the value that begins at an index of a text, and the index behind it.

Raises as :func:`load_json` does, and StopIteration where no value begins.
"""
