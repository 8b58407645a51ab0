"""The demo's web app: the page, what it is told about the server, and the aibind endpoints mounted beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..server import StreamHandler, create_app
from .guard import App, GuardedApp

__all__ = ["build_app"]

STATIC = Path(__file__).parent / "static"


def build_app(handler: StreamHandler, about: dict[str, Any], *, local: bool) -> App:
    """Put the app together. ``about`` names the model; ``local``: see :class:`~aibind.demo.guard.GuardedApp`."""

    async def describe(_: Request) -> JSONResponse:
        return JSONResponse(about)

    routes = [
        Route("/", _page),
        Route(
            "/c/{id:path}", _page
        ),  # a conversation has an address, so that it can be reloaded, shared and bookmarked
        Route("/api/about", describe),
        Mount("/static", StaticFiles(directory=STATIC)),
        Mount("/__aibind__", create_app(handler)),
    ]
    return GuardedApp(Starlette(routes=routes), local=local)


async def _page(_: Request) -> FileResponse:
    return FileResponse(STATIC / "index.html")
