"""The usage that endpoints report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..._json import is_object
from ..model import Usage

__all__ = ["usage_of"]


def usage_of(value: Any) -> Usage | None:
    """Return the usage that an endpoint reports, in either format; None for anything else."""
    if not is_object(value):
        return None
    counts = [_count(value, "prompt_tokens", "input_tokens"), _count(value, "completion_tokens", "output_tokens")]
    return None if counts == [None, None] else Usage(*(count or 0 for count in counts))


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    found = next((usage[name] for name in names if isinstance(usage.get(name), int | float)), None)
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        return None
    return max(0, int(found))
