"""The machine that the figures are from."""

from __future__ import annotations

import os
import platform
import sqlite3
from typing import Any

from testbed.node import CannotInstallError, node_version

__all__ = ["describe_machine"]


def describe_machine() -> dict[str, Any]:
    """Describe this machine, without its name."""
    import psutil

    try:
        node = node_version()
    except CannotInstallError:
        node = "none"
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "node": node,
    }
