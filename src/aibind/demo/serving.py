"""A uvicorn server with a graceful shutdown: replies are stored and followers told before connections close."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn

from .assembly import Demo

__all__ = ["DemoServer"]


class DemoServer(uvicorn.Server):
    """A server of a demo on a socket that is already bound. ``on_started`` is called when it accepts connections.

    To stop it, call :meth:`handle_exit` from a signal handler, or set ``should_exit``.
    """

    def __init__(self, demo: Demo, on_started: Callable[[], None] = lambda: None) -> None:
        self._demo = demo
        self._on_started = on_started
        config = uvicorn.Config(
            demo.app,
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the replies and the responses that are still being sent, then the server."""
        await self._demo.handler.aclose()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the caller: uvicorn would raise them again before the database is closed."""
        yield
