"""Reads JSON as the standard has it."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["load_json"]


def load_json(text: str | bytes) -> Any:
    """Read JSON, and refuse NaN, Infinity and numbers that become one: no browser and no endpoint would take them on.

    Raises ValueError; and RecursionError for what is nested too deep.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)
