"""The usage that endpoints report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..._json import is_object
from ..model import Usage

__all__ = ["usage_of"]


def usage_of(value: Any, model: Any = None) -> Usage | None:
    """Return the usage that an endpoint reports, in either format, with its ``model``; None for anything else."""
    if not is_object(value):
        return None
    counts = [_count(value, "prompt_tokens", "input_tokens"), _count(value, "completion_tokens", "output_tokens")]
    if counts == [None, None]:
        return None
    return Usage(counts[0] or 0, counts[1] or 0, model if isinstance(model, str) else None)


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    found = next((usage[name] for name in names if isinstance(usage.get(name), int | float)), None)
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        return None
    return max(0, int(found))
