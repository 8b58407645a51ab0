"""Install what the rig needs: workerd and Pyodide from npm, a Worker's packages from PyPI.

``python -m testbed.workerd.install`` does it and says what it does. Nothing happens where all is there already.
"""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..node import CannotInstallError, find_node, install_once, install_packages, run
from ..python import ROOT, install_command

__all__ = [
    "HERE",
    "NEWEST_NEEDS",
    "ROOT",
    "CannotInstallError",
    "install_node",
    "install_node_modules",
    "install_worker_packages",
]

HERE = Path(__file__).parent
TOOLS = ROOT / ".tools" / "workerd"
NEWEST_NEEDS = 22
"""The Node that the newest miniflare needs."""

CONTENTS = {
    HERE: "Pyodide, wrangler and the oldest workerd",
    HERE / "newest": "the newest workerd",
    HERE / "node": "a newer Node",
}


def install_node_modules(folder: Path = HERE) -> Path:
    """Install what a folder's lock file says, and return its node_modules.

    The folders are this one, with Pyodide, wrangler and the oldest workerd, ``newest`` and ``node``.
    """
    return install_packages(folder, CONTENTS[folder])


def install_node(oldest: int) -> str:
    """Return the path of a Node that is new enough: this machine's, or one from npm, for Linux."""
    try:
        return find_node(oldest)
    except CannotInstallError as error:
        found = list(install_node_modules(HERE / "node").glob("node-*/bin/node"))
        if not found:  # no package for this system
            raise error from None
        return str(found[0])


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
    """Install everything at once."""
    with ThreadPoolExecutor() as threads:
        installing: list[Future[object]] = [
            threads.submit(install_node_modules),
            threads.submit(install_node_modules, HERE / "newest"),
            threads.submit(install_node, NEWEST_NEEDS),
            threads.submit(install_worker_packages),
        ]
        for one in installing:
            one.result()


if __name__ == "__main__":
    try:
        main()
    except CannotInstallError as error:
        sys.exit(str(error))
    print("The workerd rig is installed.")
