"""Node and the Durable Streams server, installed when they are first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from .child import Child, MissingError
from .result import Say

__all__ = ["FOLDER", "NodeMissingError", "NodeServer", "install_node_packages", "node", "node_version"]

FOLDER = Path(__file__).parents[1] / "node"


class NodeMissingError(MissingError):
    """Tells that there is no Node here."""


def node() -> str:
    """Find Node."""
    found = shutil.which("node")
    if found is None:
        raise NodeMissingError("Node is not installed: the yardsticks in JavaScript need Node 20 or newer")
    return found


def node_version() -> str:
    """Tell Node's version."""
    return subprocess.run([node(), "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")


def install_node_packages(say: Say) -> None:
    """Install what the lock file says, unless it is there."""
    lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = FOLDER / "node_modules" / ".aibind-stamp"
    if stamp.exists() and stamp.read_text() == lock:
        return
    say("installing the Durable Streams server from npm into benchmarks/node (once)")
    npm = shutil.which("npm")
    if npm is None:
        raise NodeMissingError("npm is not installed: it comes with Node")
    # Without install scripts: what they would compile comes ready in packages of its own.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    if done.returncode:
        raise NodeMissingError(f"npm ci failed:\n{done.stdout}{done.stderr}")
    stamp.write_text(lock)


class NodeServer(Child):
    """Is the Durable Streams server in a process of its own: in memory, or with its files in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__([node(), str(FOLDER / "server.mjs"), *([str(folder)] if folder else [])])
