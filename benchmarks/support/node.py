"""The Durable Streams server, installed when it is first needed."""

from __future__ import annotations

from pathlib import Path

from testbed.node import find_node, install_packages

from .child import Child

__all__ = ["FOLDER", "NodeServer", "install_node_packages"]

FOLDER = Path(__file__).parents[1] / "node"


def install_node_packages() -> None:
    """Install what the lock file says, unless it is there."""
    install_packages(FOLDER, "the Durable Streams server")


class NodeServer(Child):
    """The Durable Streams server in a separate process: in memory, or with its files in a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__([find_node(), str(FOLDER / "server.mjs"), *([str(folder)] if folder else [])])


if __name__ == "__main__":
    install_node_packages()
