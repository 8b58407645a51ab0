"""Routing without a framework: from method, path and raw body to a HttpResponse, for failures as well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

from ..errors import (
    AibindError,
    ConversationConflictError,
    ConversationTooLargeError,
    ModelError,
    ModelTimeoutError,
    RequestError,
    SessionBusyError,
    SqliteSchemaError,
)
from ..streams.response import Body, HttpResponse
from ..streams.source import message_for_readers
from .access import Access, Action, Authorize, HttpRequest, ask_authorize
from .approvals import answer_approvals
from .bodies import RETRY_AFTER_S, ClientGoneError
from .browser_client import CLIENT_NAME, client_response
from .guard import Guard, check_content_type
from .handler import StreamHandler
from .json_body import parse_json
from .requests import ids_in
from .responses import error_response, text_response
from .sent_events import events_for, lost_reply
from .session_routes import ReadBody, answer_session

__all__ = ["DEFAULT_PREFIX", "Endpoints"]

DEFAULT_PREFIX = "/__aibind__"


class AnswerOnce(Protocol):
    """An endpoint that answers a request with an id once."""

    def __call__(
        self, body: object, *, request_id: str | None, access: Access | None, events: Collection[str] | None
    ) -> Awaitable[HttpResponse[Body]]: ...


logger = logging.getLogger("aibind")


class _Post(Protocol):
    def __call__(self, body: object, *, access: Access | None) -> Awaitable[HttpResponse[Body]]: ...


class Endpoints:
    """The endpoints of a handler below a path prefix.

    ``authorize`` is asked before each of them, and returns whose request it is or refuses: see :data:`Authorize`.
    Without it, anyone may do anything.

    A request with ``Accept: text/event-stream`` is answered with all events of a reply, and any other with those that
    the JavaScript client of its endpoint knows.

    A request for a host that is not in ``allowed_hosts`` (without any, all are allowed) is refused with 421, and one
    that changes something, from the page of another site that is not in ``allowed_origins``, with 403.
    """

    def __init__(
        self,
        handler: StreamHandler,
        *,
        prefix: str = DEFAULT_PREFIX,
        authorize: Authorize | None = None,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
    ) -> None:
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"prefix is {prefix!r}: begin it with a slash")
        self._handler = handler
        self._prefix = prefix.rstrip("/")
        self._authorize = authorize
        self._guard = Guard(allowed_hosts, allowed_origins)
        self._post: dict[str, tuple[Action, _Post]] = {
            "complete": ("complete", handler.complete),
            "title": ("title", handler.title),
            "compact": ("compact", handler.compact),
        }
        self._once: dict[str, tuple[Action, AnswerOnce]] = {
            "stream": ("stream", handler.stream),
            "structured": ("structured", handler.structured),
            "chat": ("chat", handler.chat),
        }
        for endpoint in self._once:
            self._post[f"{endpoint}/compact"] = self._post["compact"]
            if handler.resumable:
                self._post[f"{endpoint}/stop"] = ("stop", handler.stop)

    def __repr__(self) -> str:
        return f"<Endpoints prefix={self._prefix!r} of {self._handler!r}>"

    @property
    def asks(self) -> bool:
        """Whether ``authorize`` is asked about each request."""
        return self._authorize is not None

    def responding(self, sending: asyncio.Future[Any], leaving: asyncio.Future[Any]) -> AbstractContextManager[None]:
        """Note a response while it is sent: see :meth:`StreamHandler.responding`."""
        return self._handler.responding(sending, leaving)

    async def answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        read_body: ReadBody,
        *,
        request: object = None,
    ) -> HttpResponse[Body]:
        """Return the response to a request, whatever goes wrong.

        ``path`` is percent-encoded, as in the request's line, so that a session id may hold a slash. ``headers`` has
        lower-case names, and ``query`` is the raw query string. ``read_body`` is called only for an endpoint that takes
        a body. ``authorize`` is given ``request``, by default a :class:`HttpRequest` of these. Raises only what
        ``read_body`` raises as ClientGoneError.
        """
        if request is None:
            request = HttpRequest(method, path, query, headers)
        try:
            return await self._answer(method, path, query, headers, read_body, request)
        except SessionBusyError as error:
            busy = error_response(str(error), error.status, streamId=error.stream_id)
            retry = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 429 else {}
            return HttpResponse(busy.status, {**busy.headers, **retry}, busy.body)
        except RequestError as error:
            refused = error_response(str(error), error.status)
            return HttpResponse(refused.status, {**refused.headers, **error.headers}, refused.body)
        except ModelError as error:
            return error_response(message_for_readers(error), 504 if isinstance(error, ModelTimeoutError) else 502)
        except ConversationConflictError:
            return error_response("This conversation was changed meanwhile: load it, and try again", 409)
        except ConversationTooLargeError as error:
            return error_response(str(error), 413)
        except SqliteSchemaError:
            logger.exception("The database lacks a table: call migrate(client), or apply what `aibind schema` prints")
            return error_response("The server's database is not set up", 500)
        except AibindError:
            logger.exception("A request could not be answered")
            return error_response("The server cannot store or read this at the moment: try again", 503)
        except ClientGoneError:
            raise
        except Exception:
            logger.exception("A request failed")
            return error_response("The server failed", 500)

    async def _answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        read_body: ReadBody,
        request: object,
    ) -> HttpResponse[Body]:
        self._guard.check(method, headers)

        async def read_json() -> bytes | bytearray:
            check_content_type(headers)
            return await read_body()

        async def enter(action: Action, session_id: str | None, stream_id: str | None = None) -> Access | None:
            if self._authorize is None:
                return None
            return await ask_authorize(self._authorize, request, action, session_id, stream_id)

        segments = self._below_prefix(path)
        if segments[:1] == ["sessions"] and segments[2:] == ["approvals"] and segments[1]:
            return await answer_approvals(self._handler.approvals, method, segments[1], read_json, enter)
        if segments[:1] == ["sessions"]:
            found = await answer_session(
                self._handler.sessions, method, segments[1:], query, headers, read_json, self._file, enter
            )
            return found or _not_found()
        name = unquote("/".join(segments))
        if method == "POST" and (name in self._once or name in self._post):
            action = (self._once.get(name) or self._post[name])[0]
            body = await _read(read_json, action)
            access = await enter(action, body.session_id, body.stream_id)
            if body.error is not None:
                raise body.error
            if name in self._once:
                request_id = headers.get("idempotency-key")
                events = events_for(name, headers)
                return await self._once[name][1](body.value, request_id=request_id, access=access, events=events)
            return await self._post[name][1](body.value, access=access)
        if method == "GET" and name == CLIENT_NAME:
            return client_response(headers)
        endpoint, _, last = name.rpartition("/")
        if method == "GET" and last == "resume" and endpoint in self._once and self._handler.resumable:
            fields = parse_qs(query, keep_blank_values=True)
            stream_id = fields.get("id", [None])[0]
            after, last_event_id = fields.get("after", [None])[0], headers.get("last-event-id")
            access = await enter("resume", None, stream_id)
            events = events_for(endpoint, headers)
            try:
                return await self._handler.resume(
                    stream_id, after, last_event_id=last_event_id, access=access, events=events
                )
            except RequestError as error:
                return lost_reply(error, headers)
        return _not_found()

    async def _file(self, session_id: str, file_id: str, access: Access | None) -> HttpResponse[Body]:
        return await self._handler.file(session_id, file_id, access=access)

    def _below_prefix(self, path: str) -> list[str]:
        """Return the segments of a path that follow the prefix, still encoded; none of a path elsewhere."""
        segments = path.split("/")
        count = self._prefix.count("/") + 1
        return segments[count:] if unquote("/".join(segments[:count])) == self._prefix else []


def _not_found() -> HttpResponse[Body]:
    return text_response("Not Found", 404, content_type="text/plain;charset=UTF-8")


@dataclass(frozen=True, slots=True)
class _JsonBody:
    """The body of a request, and the ids in it; ``error`` is what is wrong with it."""

    value: object = None
    session_id: str | None = None
    stream_id: str | None = None
    error: RequestError | None = None


async def _read(read_body: ReadBody, action: Action) -> _JsonBody:
    """Return a request's body; nobody is told what is wrong with it before they are known."""
    try:
        value = await parse_json(await read_body())
        return _JsonBody(value, *ids_in(value, action=action))
    except RequestError as error:
        return _JsonBody(error=error)
