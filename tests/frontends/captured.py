"""What the clients sent and accepted, as it was captured from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["captured", "headers_of"]

FOLDER = Path(__file__).parents[1] / "fixtures/frontends"

_OF_CONNECTIONS = frozenset({"accept-encoding", "connection", "content-length", "host"})


def captured(name: str) -> dict[str, Any]:
    """Return the captures of one file."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def headers_of(request: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a captured request, but for those of its connection."""
    return {name: value for name, value in request["headers"].items() if name.lower() not in _OF_CONNECTIONS}
