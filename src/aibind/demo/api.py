"""The page's JSON API, beside the endpoints of aibind."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .._json import load_json
from ..errors import AibindError, RequestError
from ..server.responses import error_response, json_response
from ..streams.response import Body, HttpResponse
from .chats import MAX_MESSAGES, Chats

__all__ = ["Api"]

MAX_BODY_BYTES = 4 * 1024 * 1024


class Api:
    """The routes under ``/api``; ``about`` describes the server to the page."""

    def __init__(self, chats: Chats, about: dict[str, Any]) -> None:
        self._chats = chats
        self._about = about

    @property
    def routes(self) -> list[Route]:
        """The routes, to be mounted at the root."""
        one = "/api/conversations/{id}"
        return [
            Route("/api/about", _guarded(self.about), methods=["GET"]),
            Route("/api/conversations", _guarded(self.list), methods=["GET"]),
            Route("/api/conversations", _guarded(self.new), methods=["POST"]),
            Route(one, _guarded(self.open), methods=["GET"]),
            Route(one, _guarded(self.rename), methods=["PATCH"]),
            Route(one, _guarded(self.delete), methods=["DELETE"]),
            Route(one + "/select", _guarded(self.select), methods=["POST"]),
        ]

    async def about(self, _: Request) -> Any:
        """Return which model answers."""
        return self._about

    async def list(self, _: Request) -> Any:
        """Return the conversations, newest first."""
        return {"conversations": await self._chats.list()}

    async def new(self, _: Request) -> Any:
        """Return the id of a new conversation, which is stored with its first message."""
        return {"id": str(uuid.uuid4())}

    async def open(self, request: Request) -> Any:
        """Return a conversation with its last ``limit`` messages."""
        limit = request.query_params.get("limit", str(MAX_MESSAGES))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1_000_000):
            raise RequestError("limit must be a number from 1 up")
        return await self._chats.open(request.path_params["id"], int(limit))

    async def rename(self, request: Request) -> Any:
        """Set a conversation's title to ``title``."""
        await self._chats.rename(request.path_params["id"], _text(await _body(request), "title"))
        return {"ok": True}

    async def delete(self, request: Request) -> Any:
        """Delete a conversation."""
        await self._chats.delete(request.path_params["id"])
        return {"ok": True}

    async def select(self, request: Request) -> Any:
        """Select the next (``step`` 1) or previous (-1) version of ``message``, and return the conversation."""
        body = await _body(request)
        if body.get("step") not in (1, -1):
            raise RequestError("step must be 1 or -1")
        session_id = request.path_params["id"]
        await self._chats.select(session_id, _text(body, "message"), body["step"])
        return await self._chats.open(session_id)


def _guarded(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that turns what ``answer`` returns or raises into a response."""

    async def endpoint(request: Request) -> Response:
        try:
            return _response(json_response(await answer(request)))
        except RequestError as error:
            return _response(error_response(str(error), error.status))
        except AibindError as error:
            return _response(error_response(f"The database did not do it: {error}", 503))

    return endpoint


def _response(reply: HttpResponse[Body]) -> Response:
    # Starlette's JSONResponse refuses a lone surrogate, which a conversation may hold.
    return Response(reply.body, reply.status, reply.headers)


async def _body(request: Request) -> dict[str, Any]:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise RequestError(f"The body is larger than {MAX_BODY_BYTES} bytes", 413)
    try:
        body = load_json(bytes(content))
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not valid JSON") from error
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object")
    return cast("dict[str, Any]", body)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{name} must be a string")
    return value
