"""Installs what the rig needs: workerd and Pyodide from npm, a Worker's packages from PyPI.

``python -m tests.workerd.install`` does it and says what it does. Nothing happens where all is there already.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = HERE.parent.parent / ".tools" / "workerd"
NODE_MODULES = HERE / "node_modules"


class CannotInstallError(Exception):
    """Says what is missing on this machine."""


def node() -> str:
    """Find Node, 20 or newer."""
    found = shutil.which("node")
    if found is None:
        raise CannotInstallError("Node is not installed: the tests inside workerd need Node 20 or newer")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        raise CannotInstallError(f"Node is {version}: the tests inside workerd need Node 20 or newer")
    return found


def install_node_modules(folder: Path = HERE, what: str = "workerd and Pyodide from npm") -> Path:
    """Install the packages of a folder's lock file, by default workerd's; return their folder."""
    node()
    lock = folder / "package-lock.json"
    modules = folder / "node_modules"

    def install() -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise CannotInstallError("npm is not installed: it comes with Node")
        # Their install scripts would only download what the packages hold already.
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    _once(modules / ".aibind-stamp", _digest(lock), what, install)
    return modules


def install_packages() -> Path:
    """Install the packages that a Worker vendors; return the folder."""
    requirements = HERE / "requirements.txt"
    folder = TOOLS / "packages"

    def install() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _run([*_pip(), "--no-deps", "--only-binary=:all:", "--target", str(folder), "-r", str(requirements)], HERE)

    _once(TOOLS / "packages-stamp", _digest(requirements), "a Worker's Python packages from PyPI", install)
    return folder


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    own = HERE.parent.parent / ".tools" / "uv" / "bin" / "uv"  # where scripts/setup.sh puts it
    if uv := shutil.which("uv") or (str(own) if own.exists() else None):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    raise CannotInstallError("Neither pip nor uv is installed: one of them is needed")


def _once(stamp: Path, version: str, what: str, install: object) -> None:
    if stamp.exists() and stamp.read_text() == version:
        return
    print(f"Installing {what} …", file=sys.stderr, flush=True)
    assert callable(install)
    install()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(version)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise CannotInstallError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        install_node_modules()
        install_packages()
    except CannotInstallError as error:
        sys.exit(str(error))
    print("The workerd rig is installed.")
