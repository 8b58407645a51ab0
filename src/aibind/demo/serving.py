"""A uvicorn server with a graceful shutdown: replies are stored and followers told before connections close."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator

import uvicorn

from .assembly import Demo
from .guard import App, Message, Receive, Send

__all__ = ["DemoServer"]


class DemoServer(uvicorn.Server):
    """A server of a demo on a socket that is already bound. ``on_started`` is called when it accepts connections.

    To stop it, call :meth:`handle_exit` from a signal handler, or set ``should_exit``.
    """

    def __init__(self, demo: Demo, on_started: Callable[[], None] = lambda: None) -> None:
        self._demo = demo
        self._on_started = on_started
        self._closing = asyncio.Event()
        config = uvicorn.Config(
            _Dismissing(demo.app, self._closing),
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
        """End the replies, then the responses that are still being sent, then the server."""
        await self._demo.handler.aclose()
        self._closing.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the caller: uvicorn would raise them again before the database is closed."""
        yield


class _Dismissing:
    """An ASGI app whose responses under way see their client disconnect once ``closing`` is set."""

    def __init__(self, app: App, closing: asyncio.Event) -> None:
        self._app = app
        self._closing = closing

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        unfinished = False
        dismissed = False

        async def receive_or_dismiss() -> Message:
            nonlocal dismissed
            receiving = asyncio.ensure_future(receive())
            closing = asyncio.ensure_future(self._closing.wait())
            try:
                await asyncio.wait([receiving, closing], return_when=asyncio.FIRST_COMPLETED)
                if receiving.done():
                    return receiving.result()
                dismissed = True
                return {"type": "http.disconnect"}
            finally:
                receiving.cancel()
                closing.cancel()

        async def send_noting(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] != "http.response.body" or bool(message.get("more_body"))
            await send(message)

        await self._app(scope, receive_or_dismiss, send_noting)
        if dismissed and unfinished:
            await send({"type": "http.response.body", "body": b""})
