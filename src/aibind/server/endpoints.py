"""Routing without a framework: from method, path and raw body to a HttpResponse, for failures as well."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, unquote

from ..errors import RequestError
from ..streams.response import Body, HttpResponse
from .access import Access, Action, Authorize
from .approvals import answer_approvals
from .browser_modules import CLIENT_NAME, module_response
from .entrance import Enter, Entrance, not_found
from .handler import StreamHandler
from .json_body import parse_json
from .requests import ids_in
from .sent_events import events_for, lost_reply
from .session_routes import ReadBody, answer_session

__all__ = ["DEFAULT_PREFIX", "Endpoints"]

DEFAULT_PREFIX = "/__aibind__"


class AnswerOnce(Protocol):
    """An endpoint that answers a request with an id once."""

    def __call__(
        self, body: object, *, request_id: str | None, access: Access | None, events: Collection[str] | None
    ) -> Awaitable[HttpResponse[Body]]: ...


class _Post(Protocol):
    def __call__(self, body: object, *, access: Access | None) -> Awaitable[HttpResponse[Body]]: ...


class Endpoints(Entrance):
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
        super().__init__(
            handler,
            prefix=prefix,
            authorize=authorize,
            allowed_hosts=allowed_hosts,
            allowed_origins=allowed_origins,
        )
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

    async def _answer(
        self,
        method: str,
        segments: list[str],
        query: str,
        headers: Mapping[str, str],
        read_json: ReadBody,
        enter: Enter,
    ) -> HttpResponse[Body]:
        if segments[:1] == ["sessions"] and segments[2:] == ["approvals"] and segments[1]:
            return await answer_approvals(self._handler.approvals, method, segments[1], read_json, enter)
        if segments[:1] == ["sessions"]:
            found = await answer_session(
                self._handler.sessions, method, segments[1:], query, headers, read_json, self._file, enter
            )
            return found or not_found()
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
            return module_response(CLIENT_NAME, headers)
        endpoint, _, last = name.rpartition("/")
        if method == "GET" and last == "resume" and endpoint in self._once and self._handler.resumable:
            fields = parse_qs(query, keep_blank_values=True)
            stream_id = fields.get("id", [None])[0]
            after, last_event_id = fields.get("after", [None])[0], headers.get("last-event-id")
            access = await enter("resume", None, stream_id)
            events = events_for(endpoint, headers)
            try:
                return await self._handler.resume(
                    stream_id,
                    after,
                    last_event_id=last_event_id,
                    access=access,
                    events=events,
                    short=fields.get("short") == ["true"],
                )
            except RequestError as error:
                return lost_reply(error, headers)
        return not_found()

    async def _file(self, session_id: str, file_id: str, access: Access | None) -> HttpResponse[Body]:
        return await self._handler.file(session_id, file_id, access=access)


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
