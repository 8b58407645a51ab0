"""The endpoints as a router of FastAPI, with its dependencies and in its OpenAPI document."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..streams.response import Body, HttpResponse
from .access import Action, Authorize
from .app import AsgiApp, Receive, Scope, Send, raw_path, with_http_exceptions
from .bodies import BODY_TIMEOUT_S, MAX_BODY_BYTES, MAX_PENDING_BODY_BYTES, BodyReader
from .browser_modules import CLIENT_NAME, module_response
from .endpoints import DEFAULT_PREFIX, Endpoints
from .handler import StreamHandler
from .openapi import OPERATIONS, Operation

if TYPE_CHECKING:
    from fastapi import APIRouter, Request

__all__ = ["create_router"]


def create_router(
    handler: StreamHandler,
    *,
    prefix: str = DEFAULT_PREFIX,
    max_body_bytes: int = MAX_BODY_BYTES,
    authorize: Authorize | None = None,
    access: Callable[..., Any] | None = None,
    allowed_hosts: Sequence[str] = (),
    allowed_origins: Sequence[str] = (),
    body_timeout_s: float | None = BODY_TIMEOUT_S,
    max_pending_body_bytes: int | None = MAX_PENDING_BODY_BYTES,
) -> APIRouter:
    """Return a FastAPI router of a handler, for ``app.include_router(…)``.

    It answers as the app of :func:`create_app` does. Beyond that, each endpoint is a path operation: it is in the
    OpenAPI document, and the ``dependencies`` of the router and of the app run before it.

    ``access`` is a FastAPI dependency, which may have others, and returns what ``authorize`` does: an owner, an
    :class:`Access`, or None to refuse. Where it depends on what is asked for, give ``authorize`` instead, which is
    asked as by :func:`create_app`; dependencies that ran before can leave what it needs in ``request.state``.

    ``allowed_origins`` are those of other sites whose pages may change something: give them to FastAPI's
    ``CORSMiddleware`` as well. The other options are those of :func:`create_app`.

    Needs FastAPI, which no extra installs. Raises ValueError for ``authorize`` and ``access`` together.
    """
    try:
        from fastapi import APIRouter, Depends, Request, Response
    except ImportError as error:
        raise ImportError(
            'create_router needs fastapi: install it with pip install fastapi "aibind[server]"'
        ) from error
    if authorize is not None and access is not None:
        raise ValueError("Give either authorize or access, not both")
    if access is not None:
        authorize = _as_granted
    endpoints = Endpoints(
        handler,
        prefix="",
        authorize=with_http_exceptions(authorize),
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
    )
    app = AsgiApp(endpoints, BodyReader(max_body_bytes, body_timeout_s, max_pending_body_bytes))

    class Answer(Response):
        """The answer of an endpoint as FastAPI takes it; without one, nobody is left to be answered."""

        def __init__(self, answer: HttpResponse[Body] | None) -> None:
            super().__init__(status_code=answer.status if answer is not None else 400)
            self._answer = answer

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            del scope
            if self._answer is not None:
                await app.send(self._answer, receive, send)
            if self.background is not None:
                await self.background()

    def endpoint_of(operation: Operation) -> Callable[..., Any]:
        async def endpoint(request: Request, **given: Any) -> Response:
            path = _below(request.scope, operation)
            asked = _Granted(given["access"]) if access is not None else request
            return Answer(await app.answer(request.scope, _body_of(request), path, asked))

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter("request", kind, annotation=Request)]
        parameters += [inspect.Parameter(name, kind, annotation=str) for name in _segments(operation)]
        if access is not None:
            parameters.append(inspect.Parameter("access", kind, default=Depends(access), annotation=Any))
        endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return endpoint

    router = APIRouter()

    @router.get(f"{prefix.rstrip('/')}/{CLIENT_NAME}", include_in_schema=False)
    async def client(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return Answer(module_response(CLIENT_NAME, request.headers))

    aliases = [replace(operation, path=path) for operation in OPERATIONS for path in operation.aliases]
    for operation in (*OPERATIONS, *aliases):
        if operation.is_of_streams and not handler.resumable:
            continue
        router.add_api_route(
            prefix.rstrip("/") + operation.path.replace("{session_id}", "{session_id:path}"),
            endpoint_of(operation),
            methods=[operation.method],
            name=operation.action,
            summary=operation.summary,
            status_code=operation.status,
            response_class=Response,
            responses=operation.responses,
            openapi_extra=operation.extra,
            include_in_schema=operation in OPERATIONS and (handler.lists_sessions or not operation.is_of_sessions),
        )
    return router


@dataclass(frozen=True, slots=True)
class _Granted:
    """The answer of a dependency, in the place of the request."""

    value: Any


def _as_granted(granted: _Granted, action: Action, session_id: str | None, stream_id: str | None) -> Any:
    del action, session_id, stream_id
    return granted.value


def _segments(operation: Operation) -> list[str]:
    return [name for name in ("session_id", "file_id") if f"{{{name}}}" in operation.path]


def _body_of(request: Request) -> Receive:
    """Return the body as a server sends it, from the beginning even when a dependency has read it."""
    from starlette.requests import ClientDisconnect

    pieces = request.stream()

    async def receive() -> dict[str, Any]:
        try:
            piece = await anext(pieces, None)
        except ClientDisconnect:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return receive


def _below(scope: Scope, operation: Operation) -> str:
    """Return the percent-encoded path below the prefix, wherever the router was included."""
    tail = operation.path.format(**scope["path_params"])
    above = scope["path"].removesuffix(tail).count("/") + 1
    return "/" + "/".join(raw_path(scope).split("/")[above:])
