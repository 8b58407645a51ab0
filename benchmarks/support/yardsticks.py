"""Installation of the packages from PyPI that ``turns`` compares with, in a separate environment.

They are the dependency group ``yardsticks`` of the lock file. The environment is separate because they bring 50
packages, one of them with a pytest plugin that every test run would load.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from testbed.node import CannotInstallError, install_once, run

from .child import ROOT

__all__ = ["install_yardsticks"]

FOLDER = ROOT / ".tools" / f"yardsticks-{sys.version_info.major}.{sys.version_info.minor}"


def install_yardsticks() -> str:
    """Install what the lock file says, unless it is there, and return the path of a Python that has it."""
    install_once(FOLDER / ".aibind-stamp", ROOT / "uv.lock", "the yardsticks from PyPI", _install)
    return str(FOLDER / ("Scripts" if os.name == "nt" else "bin") / "python")


def _install() -> None:
    command = [_find_uv(), "sync", "--frozen", "--quiet", "--only-group", "yardsticks", "--python", sys.executable]
    run(["env", f"UV_PROJECT_ENVIRONMENT={FOLDER}", *command], ROOT)


def _find_uv() -> str:
    """Return the path of uv: of the one that runs this, on the PATH, or where the scripts install it."""
    local: Path = ROOT / ".tools" / "uv" / "bin" / "uv"
    found = os.environ.get("UV") or shutil.which("uv") or (str(local) if local.exists() else None)
    if found is None:
        raise CannotInstallError("uv is not installed: install it, or run scripts/test once, which brings it")
    return found


if __name__ == "__main__":
    install_yardsticks()
