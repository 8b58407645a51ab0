"""OpenTelemetry for replies and streams; needs the extra ``opentelemetry``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand
from ..._public import publish

if TYPE_CHECKING:
    from .instrumentation import instrument, uninstrument

__all__ = ["instrument", "uninstrument"]

publish(__name__, __all__)
__getattr__ = load_on_demand(__name__, {"instrumentation": "instrument uninstrument"}, extra="opentelemetry")


def __dir__() -> list[str]:
    return __all__
