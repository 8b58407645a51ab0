"""Streams of OpenAI's and Anthropic's clients, which one generator makes, read as replies."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from json import JSONDecodeError
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from .._closing import close_iterator
from .._json import is_object
from .._time import timeout
from ..errors import ModelError, ModelTimeoutError
from ..models.endpoint.address import secrets_of
from ..models.endpoint.errors import Redactor, answered, endpoint_error, snippet
from ..models.endpoint.json_reply import JsonReply
from ..models.endpoint.reply import BROKE_OFF, cut_off, garbage
from ..models.model import ModelEvent

__all__ = ["SdkAnswer", "SdkStream", "StartReply", "read_sdk_stream", "sdk_error", "split_options", "was_not_begun"]

SdkStream: TypeAlias = AsyncIterator[Any] | Awaitable[AsyncIterator[Any]]
"""A stream of a client, or the call that opens it."""

StartReply: TypeAlias = Callable[[Mapping[str, Any], Redactor], JsonReply]
"""A function from the first message of a stream, empty if there is none, to the reply that reads it."""

_MAX_TAIL_S = 10.0
"""Seconds to wait for the rest after the reason to stop: only usage can follow."""
_MAX_DRAIN_S = 0.1
"""Seconds to wait for the end of the body after the last message, which frees the connection for the next call."""

# Named, so that both packages, and both libraries that they may use for HTTP, are told apart without importing them.
_TIMEOUTS = frozenset({"APITimeoutError", "TimeoutException"})
_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})
_NOT_BEGUN = frozenset({429, 503})
_LOST = frozenset({"APIConnectionError", "TransportError"})
_REFUSED = frozenset({"OpenAIError", "AnthropicError"})


async def read_sdk_stream(open_stream: Callable[[], SdkStream], start: StartReply) -> AsyncGenerator[ModelEvent]:
    """Yield the events of a stream, and close it at the end. Errors of the client are raised as ModelError."""
    reply: JsonReply | None = None
    stream: Any = None
    try:
        opening: Any = open_stream()
        stream = await opening if inspect.isawaitable(opening) else opening
        messages = aiter(stream)
        while True:
            message = await _next(messages, reply)
            if message is None:
                break
            if reply is None:
                reply = start(message, _redactor(getattr(stream, "response", None)))
            for event in reply.take(message):
                yield event
    except ModelError:
        raise
    except Exception as error:
        failure = sdk_error(error, has_begun=reply is not None)
        if failure is None:
            raise
        is_whole = reply is not None and reply.finished  # at most the usage is missing
        if not (is_whole and _names_of(error) & (_TIMEOUTS | _LOST)):
            raise failure from error
    finally:
        await _close(stream)
    reply = reply or start({}, Redactor())
    for event in reply.end():
        yield event
    if reply.failure is not None:
        raise reply.failure


class SdkAnswer:
    """A stream of a client that has been opened, read by a reply that exists."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def read(self, reply: JsonReply) -> AsyncGenerator[ModelEvent]:
        """Yield the events of the stream. Errors of the client are raised as ModelError."""
        try:
            messages = aiter(self._stream)
            while not reply.done and (message := await _next(messages, reply)) is not None:
                for event in reply.take(message):
                    yield event
        except ModelError:
            raise
        except Exception as error:
            failure = sdk_error(error, has_begun=True)
            if failure is None:
                raise
            if not (reply.finished and _names_of(error) & (_TIMEOUTS | _LOST)):
                raise failure from error

    async def aclose(self) -> None:
        """Close the stream."""
        await _close(self._stream)


def was_not_begun(error: Exception) -> bool:
    """Return whether a request that failed was certainly not begun at the endpoint."""
    cause = error.__cause__
    unsent = isinstance(cause, Exception) and _names_of(cause) & _UNSENT
    return bool(unsent) or getattr(error, "status_code", None) in _NOT_BEGUN


def sdk_error(error: Exception, *, has_begun: bool) -> ModelError | None:
    """Return the ModelError for an exception of a client, or None for another exception.

    ``has_begun`` is whether a part of the answer had come.
    """
    names = _names_of(error)
    redact = _redactor(error)
    status: object = getattr(error, "status_code", None)
    body: object = getattr(error, "body", None) or str(error)
    if names & _TIMEOUTS:
        cut = "The model's reply was cut off: the" if has_begun else "The model's"
        return ModelTimeoutError(f"{cut} endpoint sent nothing for as long as the client waits")
    if names & _LOST:
        if has_begun:
            return cut_off()
        reason = snippet(redact(str(error.__cause__ or error)))
        said = "The model's endpoint cannot be reached"
        return ModelError(f"{said}: {reason}", code="connection", retryable=True, for_clients=said)
    if isinstance(status, int) and status >= 400:
        return endpoint_error(body, answered(status), redact, status=status)
    if "APIError" in names:
        return endpoint_error(body, BROKE_OFF, redact)
    if names & _REFUSED:
        said = "The model's client refused the request"
        return ModelError(f"{said}: {snippet(redact(str(error)), 500)}", for_clients=said)
    if isinstance(error, RuntimeError) and "client has been closed" in str(error):
        return ModelError("The model's client was closed: create another one")
    if isinstance(error, JSONDecodeError):
        return garbage("a data line that is not JSON", error.doc, redact)
    return None


def split_options(call: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as arguments of a client's method; those that it does not have go into the body as they are.

    An option that is None is left out.
    """
    known = inspect.signature(call).parameters
    given = {name: value for name, value in options.items() if value is not None}
    named = {name: value for name, value in given.items() if name in known}
    others = {name: value for name, value in given.items() if name not in known}
    return named | ({"extra_body": {**others, **named.get("extra_body", {})}} if others else {})


def _names_of(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


async def _next(messages: AsyncIterator[Any], reply: JsonReply | None) -> dict[str, Any] | None:
    """Return the next message as JSON, None at the end."""
    try:
        async with timeout(_MAX_DRAIN_S if reply and reply.done else _MAX_TAIL_S if reply and reply.finished else None):
            message: Any = await anext(messages)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        if reply is None or not reply.finished:
            raise
        return None
    if is_object(message):
        return message
    if not hasattr(message, "to_dict"):
        raise TypeError(f"A stream of a client yielded {type(message).__name__}: give what create(stream=True) returns")
    return message.to_dict(mode="json", warnings=False)


async def _close(stream: Any) -> None:
    """Close a stream of a client, which has a coroutine function ``close()``, or any other iterator."""
    await close_iterator(stream if hasattr(stream, "aclose") or stream is None else _Closing(stream.close))


class _Closing:
    """A coroutine function that closes, under the name that iterators have for it."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self.aclose = close


def _redactor(holder: Any) -> Redactor:
    """Return what removes the secrets of a request from a text; the request is an attribute of an answer or error."""
    try:
        request = holder.request
        headers = dict(request.headers.items())
        return Redactor(secrets_of(headers, urlsplit(str(request.url))))
    except (AttributeError, RuntimeError):  # an error of the HTTP library may have no request
        return Redactor()
