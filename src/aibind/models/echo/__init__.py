"""An offline model that writes plausible replies, for demos and tests."""

from __future__ import annotations

from .model import EchoModel

__all__ = ["EchoModel"]
