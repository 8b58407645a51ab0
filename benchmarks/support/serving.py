"""An ASGI app on one uvicorn worker, in a process that ends with its standard input."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

__all__ = ["open_many_files", "serve_app"]


async def serve_app(app: Any) -> None:
    """Serve on a free port of the loopback, and print it."""
    import uvicorn

    open_many_files()
    # With its protocol said, asyncio sets TCP_NODELAY on what it accepts, as it does on a socket of its own making.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    config = uvicorn.Config(
        app, http="h11", log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)

    def end() -> None:
        if not os.read(sys.stdin.fileno(), 65536):
            server.handle_exit(signal.SIGTERM, None)
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), end)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await server.serve(sockets=[listener])


def open_many_files() -> None:
    """Let this process have as many connections as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))
