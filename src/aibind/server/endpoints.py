"""Routing without a framework: from method, path and raw body to a HttpResponse, for failures as well."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qs, unquote

from .._json import load_json
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
from .handler import StreamHandler
from .responses import error_response, text_response
from .session_routes import answer_session

__all__ = ["DEFAULT_PREFIX", "MAX_BODY_BYTES", "ClientGoneError", "Endpoints"]

DEFAULT_PREFIX = "/__aibind__"

MAX_BODY_BYTES = 10 * 1024 * 1024
"""The default limit of a request body, in bytes: a conversation with a few pictures."""


class AnswerOnce(Protocol):
    """An endpoint that answers a request with an id once."""

    def __call__(self, body: object, *, request_id: str | None) -> Awaitable[HttpResponse[Body]]: ...


logger = logging.getLogger("aibind")


class ClientGoneError(Exception):
    """Raised by ``read_body`` when the client disconnects in the middle of its request, so that no answer is needed."""


class Endpoints:
    """The endpoints of a handler below a path prefix."""

    def __init__(self, handler: StreamHandler, *, prefix: str = DEFAULT_PREFIX) -> None:
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"prefix is {prefix!r}: begin it with a slash")
        self._handler = handler
        self._prefix = prefix.rstrip("/")
        self._post: dict[str, Callable[[object], Awaitable[HttpResponse[Body]]]] = {
            "complete": handler.complete,
            "title": handler.title,
            "compact": handler.compact,
        }
        self._once: dict[str, AnswerOnce] = {
            "stream": handler.stream,
            "structured": handler.structured,
            "chat": handler.chat,
        }
        if handler.resumable:
            self._post["stream/stop"] = handler.stop

    def __repr__(self) -> str:
        return f"<Endpoints prefix={self._prefix!r} of {self._handler!r}>"

    async def answer(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        read_body: Callable[[], Awaitable[bytes]],
    ) -> HttpResponse[Body]:
        """Return the response to a request, whatever goes wrong.

        ``path`` is percent-encoded, as in the request's line, so that a session id may hold a slash. ``headers`` has
        lower-case names, and ``query`` is the raw query string. ``read_body`` is called only for an endpoint that takes
        a body. Raises only what ``read_body`` raises as ClientGoneError.
        """
        try:
            return await self._answer(method, path, query, headers, read_body)
        except SessionBusyError as error:
            return error_response(str(error), error.status, streamId=error.stream_id)
        except RequestError as error:
            return error_response(str(error), error.status)
        except ModelTimeoutError as error:
            return error_response(str(error), 504)
        except ModelError as error:
            return error_response(str(error), 502)
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
        read_body: Callable[[], Awaitable[bytes]],
    ) -> HttpResponse[Body]:
        segments = self._below_prefix(path)
        if segments[:1] == ["sessions"]:
            found = await answer_session(
                self._handler.sessions, method, segments[1:], query, headers, read_body, _decode, self._handler.file
            )
            return found or _not_found()
        name = unquote("/".join(segments))
        if method == "POST" and name in self._once:
            return await self._once[name](_decode(await read_body()), request_id=headers.get("idempotency-key"))
        if method == "POST" and name in self._post:
            return await self._post[name](_decode(await read_body()))
        if method == "GET" and name == "stream/resume" and self._handler.resumable:
            fields = parse_qs(query, keep_blank_values=True)
            after = fields.get("after", [None])[0]
            # A browser's EventSource reconnects with the last id it saw, which is newer than the one in its URL.
            return await self._handler.resume(fields.get("id", [None])[0], headers.get("last-event-id") or after)
        return _not_found()

    def _below_prefix(self, path: str) -> list[str]:
        """Return the segments of a path that follow the prefix, still encoded; none of a path elsewhere."""
        segments = path.split("/")
        count = self._prefix.count("/") + 1
        return segments[count:] if unquote("/".join(segments[:count])) == self._prefix else []


def _not_found() -> HttpResponse[Body]:
    return text_response("Not Found", 404, content_type="text/plain;charset=UTF-8")


def _decode(body: bytes) -> object:
    try:
        return load_json(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("The body is not valid JSON") from error
