"""LangGraph's checkpoints in any database that speaks SQLite's dialect, D1 included; needs the extra ``langgraph``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import load_on_demand

if TYPE_CHECKING:
    from .saver import SqliteCheckpointSaver

__all__ = ["SqliteCheckpointSaver"]

__getattr__ = load_on_demand(__name__, {"saver": "SqliteCheckpointSaver"}, extra="langgraph")


def __dir__() -> list[str]:
    return __all__
