"""The apps of the ``formats`` benchmark: a handler's own, those of other front ends, and routes with an encoder.

Formats without an app of ours are served as a user does it: by a Starlette route that returns a followed stream with
its encoder, or a generator made durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from .formats import OWN, ROUTE
from .starter import Starter

__all__ = ["make_format_app"]


async def make_format_app(name: str, starter: Starter, path: Path, stack: AsyncExitStack) -> Any:
    """Return the app of a format, over a SQLite file."""
    from aibind.sqlite import SqliteMessageStore, SqliteStreamStore, migrate, wrap_sqlite3

    client = await stack.enter_async_context(wrap_sqlite3(path))
    await migrate(client)
    store = SqliteStreamStore(client)
    if name in _ROUTES:
        return _ROUTES[name](store, starter)

    from aibind.models import ModelEvent, ModelRequest, TextDelta
    from aibind.server import StreamHandler, create_agent_app, create_app, create_chat_app

    class ClockedModel:
        async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            async for token in starter.tokens(request.messages[-1]["content"]):
                yield TextDelta(token)

    handler = StreamHandler(model=ClockedModel(), resumable=True, store=store, conversations=SqliteMessageStore(client))
    apps: dict[str, Callable[[StreamHandler], Any]] = {
        OWN: create_app,
        "ai_sdk": create_chat_app,
        "ag_ui": create_agent_app,
    }
    return apps[name](handler)


# --- routes ----------------------------------------------------------------------------------------------------------


def _encoder_route(store: Any, starter: Starter, make_encoder: Callable[[], Any]) -> Any:
    """Return an app with a followed stream in a format."""
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse

    from aibind import DurableStream
    from aibind.protocols import respond
    from aibind.streams import follow

    async def answer(stream_id: str) -> Response:
        response = respond(await follow(store, stream_id, idle_s=15), make_encoder())
        return StreamingResponse(response.body, response.status, response.headers)

    async def ask(request: Request) -> Response:
        asked = await request.json()
        await DurableStream.create(store, starter.tokens(asked["prompt"]), stream_id=asked["id"])
        return await answer(asked["id"])

    async def resume(request: Request) -> Response:
        return await answer(request.path_params["id"])

    return _routes(ask, resume)


def _json_lines(store: Any, starter: Starter) -> Any:
    from aibind.protocols import JsonLinesEncoder

    return _encoder_route(store, starter, JsonLinesEncoder)


def _plain_text(store: Any, starter: Starter) -> Any:
    from aibind.protocols import PlainTextEncoder

    return _encoder_route(store, starter, PlainTextEncoder)


def _durable_response(store: Any, starter: Starter) -> Any:
    """Return an app whose generator of server-sent events was made durable."""
    from starlette.requests import Request
    from starlette.responses import Response

    from aibind.server import durable_response, resume_response

    async def answer(prompt: str) -> AsyncIterator[str]:
        async for token in starter.tokens(prompt):
            yield f"data: {token}\n\n"

    async def ask(request: Request) -> Response:
        asked = await request.json()
        return await durable_response(store, answer(asked["prompt"]), id=asked["id"])

    async def resume(request: Request) -> Response:
        return await resume_response(store, request.path_params["id"])

    return _routes(ask, resume)


def _routes(ask: Callable[[Any], Any], resume: Callable[[Any], Any]) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route(ROUTE, ask, methods=["POST"]), Route(f"{ROUTE}/{{id}}", resume)])


_ROUTES: dict[str, Callable[[Any, Starter], Any]] = {
    "json_lines": _json_lines,
    "plain_text": _plain_text,
    "durable_response": _durable_response,
}
