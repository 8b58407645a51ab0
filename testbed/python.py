"""Installing Python packages into an environment, with what this machine has: pip or uv."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from .node import CannotInstallError

__all__ = ["ROOT", "install_command"]

ROOT = Path(__file__).parents[1]


def install_command(python: str = sys.executable) -> list[str]:
    """Return the beginning of the command that installs packages into an environment, given its Python."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--quiet"]
    own = ROOT / ".tools" / "uv" / "bin" / "uv"  # where scripts/setup.sh puts it
    if uv := shutil.which("uv") or (str(own) if own.exists() else None):
        return [uv, "pip", "install", "--quiet", "--python", python]
    raise CannotInstallError("Neither pip nor uv is installed: install one of them")
