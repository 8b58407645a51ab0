"""A request's body as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...errors import ModelError

__all__ = ["encode_body"]


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Return a body as JSON in UTF-8, where a lone surrogate, which UTF-8 cannot hold, becomes ``?``.

    Raises ModelError for values that JSON does not have.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"The request cannot be written as JSON: {error}") from error
    return text.encode("utf-8", "replace")
