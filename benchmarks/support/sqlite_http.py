"""Appending over HTTP and following as server-sent events: our server and the Durable Streams server, in turns."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .child import Child, python
from .measure import interleave
from .node import NodeServer, install_node_packages
from .result import Figures, Say
from .wire import drive

__all__ = ["NODE_FILES", "over_http"]

OUR_SERVERS = {
    "http": ("--synchronous", "FULL", "--flush-interval-ms", "0"),
    "http_memory": ("--flush-interval-ms", "0"),
}

NODE_FILES = 100
"""The Node server's file store keeps so many files open. With more streams it answers 404 for some that it has made."""


def over_http(options: argparse.Namespace, say: Say) -> dict[str, Figures]:
    """Run our servers and the yardsticks', in turns."""
    install_node_packages()
    names = ["http", "http_memory", "node_memory"]
    if options.streams <= NODE_FILES:
        names.insert(1, "node_file")
    return interleave({name: partial(_serve_and_drive, name, options) for name in names}, options.rounds, say)


def _serve_and_drive(name: str, options: argparse.Namespace) -> Figures:
    with _server(name) as server:
        return asyncio.run(_drive(server, options))


async def _drive(server: Child, options: argparse.Namespace) -> Figures:
    async with server:
        port = (await server.hear())["port"]
        return await drive(port, options.streams, max(1, options.http_chunks // options.streams))


@contextmanager
def _server(name: str) -> Iterator[Child]:
    with tempfile.TemporaryDirectory() as folder:
        if name.startswith("node"):
            yield NodeServer(Path(folder) if name == "node_file" else None)
        else:
            database = "memory" if name == "http_memory" else Path(folder) / "streams.db"
            yield Child(python("support.wire_app", database, *OUR_SERVERS[name]))
