"""An ASGI app on one uvicorn worker, in a process that ends with its standard input.

It is served as ``uvicorn main:app`` serves it: uvicorn chooses the event loop and the HTTP parser, which are uvloop and
httptools where they are installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ["open_many_files", "run_server", "serve_app"]


def run_server(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that calls :func:`serve_app`, on the event loop that uvicorn chooses."""
    import uvicorn

    with asyncio.Runner(loop_factory=uvicorn.Config("main:app").get_loop_factory()) as runner:
        runner.run(main)


async def serve_app(app: Any) -> None:
    """Serve on a free port of the loopback, and print it, with the event loop and the HTTP parser in use."""
    import uvicorn

    open_many_files()
    # With its protocol said, asyncio sets TCP_NODELAY on what it accepts, as it does on a socket that it makes itself.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)

    def end() -> None:
        if not os.read(sys.stdin.fileno(), 65536):
            server.handle_exit(signal.SIGTERM, None)
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), end)
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    parser = "httptools" if "httptools" in config.http_protocol_class.__module__ else "h11"
    print(json.dumps({"port": listener.getsockname()[1], "loop": loop, "http": parser}), flush=True)
    await server.serve(sockets=[listener])


def open_many_files() -> None:
    """Let this process have as many connections as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))
