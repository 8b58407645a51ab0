"""The demo's web app: the page, its API, and the aibind endpoints mounted beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..server import StreamHandler, create_app
from .api import Api
from .chats import Chats
from .guard import App, Guard

__all__ = ["build_app"]

STATIC = Path(__file__).parent / "static"


def build_app(handler: StreamHandler, chats: Chats, about: dict[str, Any], *, local: bool) -> App:
    """Put the app together. ``local``: see :class:`~aibind.demo.guard.Guard`."""
    routes = [
        Route("/", _page),
        Route("/c/{id}", _page),  # a conversation has an address, so that it can be reloaded, shared and bookmarked
        *Api(chats, about).routes,
        Mount("/static", StaticFiles(directory=STATIC)),
        Mount("/__aibind__", create_app(handler)),
    ]
    return Guard(Starlette(routes=routes), local=local)


async def _page(_: Request) -> FileResponse:
    return FileResponse(STATIC / "index.html")
