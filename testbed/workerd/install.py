"""Install what the rig needs: workerd and Pyodide from npm, a Worker's packages from PyPI.

``python -m testbed.workerd.install`` does it and says what it does. Nothing happens where all is there already.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..node import CannotInstallError, install_once, install_packages, run
from ..python import ROOT, install_command

__all__ = ["HERE", "NODE_MODULES", "ROOT", "CannotInstallError", "install_node_modules", "install_worker_packages"]

HERE = Path(__file__).parent
TOOLS = ROOT / ".tools" / "workerd"
NODE_MODULES = HERE / "node_modules"


def install_node_modules() -> Path:
    """Install workerd, miniflare, wrangler and Pyodide as the lock file says; return the folder."""
    return install_packages(HERE, "workerd and Pyodide")


def install_worker_packages() -> Path:
    """Install the packages that a Worker vendors; return the folder."""
    requirements = HERE / "requirements.txt"
    folder = TOOLS / "packages"

    def install() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        run(
            [*install_command(), "--no-deps", "--only-binary=:all:", "--target", str(folder), "-r", str(requirements)],
            HERE,
        )

    install_once(TOOLS / "packages-stamp", requirements, "a Worker's Python packages from PyPI", install)
    return folder


def main() -> None:
    """Install both at once."""
    with ThreadPoolExecutor() as threads:
        for installing in [threads.submit(install_node_modules), threads.submit(install_worker_packages)]:
            installing.result()


if __name__ == "__main__":
    try:
        main()
    except CannotInstallError as error:
        sys.exit(str(error))
    print("The workerd rig is installed.")
