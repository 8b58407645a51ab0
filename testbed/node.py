"""Node and packages from npm, installed when they are first needed.

``python -m testbed.node FOLDER…`` installs what the folders' package-lock.json files say.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["OLDEST_NODE", "CannotInstallError", "find_node", "install_once", "install_packages", "node_version", "run"]

OLDEST_NODE = 20


class CannotInstallError(Exception):
    """Raised when this machine lacks a program that is needed, or an installation fails."""


def find_node(oldest: int = OLDEST_NODE) -> str:
    """Return the path of Node. Raise CannotInstallError when there is none of the version ``oldest`` or newer."""
    found = shutil.which("node")
    if found is None:
        raise CannotInstallError(f"Node is not installed: install Node {oldest} or newer")
    version = _version_of(found)
    if int(version.partition(".")[0]) < oldest:
        raise CannotInstallError(f"Node is {version}: install Node {oldest} or newer")
    return found


def node_version() -> str:
    """Return Node's version, without the leading v."""
    return _version_of(find_node())


def _version_of(node: str) -> str:
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")


def install_packages(folder: Path, what: str) -> Path:
    """Install what a folder's package-lock.json says, unless it is there already; return the node_modules folder."""
    find_node()

    def install() -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise CannotInstallError("npm is not installed: it comes with Node")
        # Without install scripts: they would only download or compile what the packages hold already.
        run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    modules = folder / "node_modules"
    install_once(modules / ".aibind-stamp", folder / "package-lock.json", f"{what} from npm", install)
    return modules


def install_once(stamp: Path, lock: Path, what: str, install: Callable[[], None]) -> None:
    """Install unless the stamp holds the digest of the lock file."""
    version = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == version:
        return
    print(f"Installing {what} …", file=sys.stderr, flush=True)
    install()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(version)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder. Raise CannotInstallError with its output when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise CannotInstallError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            install_packages(Path(name), f"the packages of {name}")
    except CannotInstallError as error:
        sys.exit(str(error))
