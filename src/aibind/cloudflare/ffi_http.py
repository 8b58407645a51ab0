"""HTTP at the boundary: JavaScript's requests, responses, and the streams and sockets of their bodies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .ffi import JsObject, failure_of, from_js, is_nothing, js_module, object_of, settle, to_js_object

__all__ = [
    "ROOM",
    "ByteSink",
    "ByteSinks",
    "Fetch",
    "Fetched",
    "JsRequest",
    "answer_pings",
    "ask_object",
    "fetch",
    "make_response",
    "make_socket_pair",
    "read_request",
    "read_stream",
    "stream_body",
    "to_js_bytes",
]


@dataclass(frozen=True, slots=True)
class JsRequest:
    """A request. The names in ``headers`` are in lower case; ``raw`` is the JavaScript object, which has the body."""

    method: str
    url: str
    headers: dict[str, str]
    raw: JsObject


def read_request(request: object) -> JsRequest:
    """Return what a request says, raw or as the SDK wraps it."""
    raw: Any = getattr(request, "js_object", request)
    headers: dict[str, str] = from_js(js_module("js").Object.fromEntries(raw.headers))
    return JsRequest(str(raw.method), str(raw.url), headers, raw)


def make_response(status: int, headers: Mapping[str, str], body: bytes | JsObject, *, socket: JsObject = None) -> Any:
    """Return a response of the SDK's. ``body`` is whole, or a ReadableStream; ``socket`` is the client's end of one."""
    content = None if isinstance(body, bytes) and not body else body
    return js_module("workers").Response(content, status=status, headers=dict(headers), web_socket=socket)


def to_js_bytes(data: bytes) -> JsObject:
    """Return a Uint8Array, which any number of streams may be given."""
    return js_module("pyodide.ffi").to_js(data)


async def ask_object(
    namespace: JsObject, name: str, request: JsRequest, headers: Mapping[str, str], body: bytes
) -> Any:
    """Pass a request on to the object of a name, with other headers and this body; return its response as it comes."""
    init = to_js_object({"method": request.method, "headers": dict(headers)})
    if body:
        init.body = to_js_bytes(body)
    request_of_ours = js_module("js").Request.new(request.url, init)
    return js_module("workers").Response(await settle(object_of(namespace, name), "fetch", request_of_ours))


ROOM = 32
"""Pieces that may wait in a sink."""


class ByteSink:
    """A ReadableStream that is fed from outside, without a promise for each piece.

    ``controller.desiredSize`` is minus the number of pieces that wait in it; below ``-ROOM`` there should be none.
    ``on_cancel`` is called when the reader has gone. ``idle``, a JavaScript Set, is given the controller whenever the
    reader has passed on all and asks for more; it costs some 10 µs a piece, so few sinks have one.
    """

    __slots__ = ("_on_cancel", "controller", "enqueue", "is_watched", "stream")

    def __init__(self, on_cancel: Callable[[], None], *, idle: JsObject | None = None) -> None:
        js = js_module("js")
        started: list[JsObject] = []

        def cancel(_reason: object = None) -> None:
            on_cancel()

        start = js_module("pyodide.ffi").create_proxy(started.append)
        self._on_cancel: JsObject = js_module("pyodide.ffi").create_proxy(cancel)
        source = js.Object.new()
        source.start = start
        source.cancel = self._on_cancel
        self.is_watched = idle is not None
        if idle is not None:
            source.pull = idle.add.bind(idle)
        # Of 0, so that it is not pulled while what it was given before is being passed on.
        self.stream: JsObject = js.ReadableStream.new(source, to_js_object({"highWaterMark": 0}))
        start.destroy()  # it has been called
        self.controller: JsObject = started[0]
        self.enqueue: JsObject = self.controller.enqueue.bind(self.controller)

    def has_room(self) -> bool:
        """Return whether it takes another piece now."""
        size = self.controller.desiredSize
        return isinstance(size, int | float) and size > -ROOM  # null for a stream that has failed

    def close(self, error: str | None = None) -> None:
        """End the stream, with an error or without; do nothing when it has ended."""
        if self._on_cancel is None:
            return
        try:
            if error is None:
                self.controller.close()
            else:
                self.controller.error(js_module("js").Error.new(error))
        except Exception as failure:
            if failure_of(failure) is None:
                raise
        self._on_cancel.destroy()
        self._on_cancel = None


class ByteSinks:
    """Sinks that are sent the same by the runtime itself: a few calls, however many sinks they are.

    A Worker may not make functions in JavaScript, which would send to each in a loop. But ``forEach`` of a Set calls
    back with an element, the same again, and the Set; so ``Reflect.apply`` as the callback calls each function of a Set
    with the arguments that the Set has, which is given some as an array has them.
    """

    def __init__(self) -> None:
        js = js_module("js")
        self.idle: JsObject = js.Set.new()
        self._controllers = js.Set.new()
        self._sends = js.Set.new()
        self._sends.length = 1  # arguments
        self._apply = js.Reflect.apply
        self._set = js.Reflect.set
        self._room_of: JsObject = None

    def add(self, sink: ByteSink) -> None:
        """Add a sink."""
        if self._room_of is None:
            js = js_module("js")
            prototype = js.Object.getPrototypeOf(sink.controller)
            getter = js.Object.getOwnPropertyDescriptor(prototype, "desiredSize").get
            self._room_of = getter.call.bind(getter)
        self._controllers.add(sink.controller)
        self._sends.add(sink.enqueue)

    def remove(self, sink: ByteSink) -> None:
        """Remove a sink."""
        self._controllers.delete(sink.controller)
        self._sends.delete(sink.enqueue)

    def is_full(self) -> bool:
        """Return whether any of them has no room."""
        js = js_module("js")
        return not self._apply(js.Math.min, None, js.Array.from_(self._controllers, self._room_of)) > -ROOM

    def count_idle(self) -> int:
        """Return how many of the watched ones have passed on all since ``send`` was called."""
        return int(self.idle.size)

    def send(self, data: JsObject) -> None:
        """Send the same to each.

        Raises a failure of JavaScript's when one of them has ended: then nobody knows which were sent it.
        """
        self.idle.clear()
        self._set(self._sends, 0, data)
        self._sends.forEach(self._apply)


def make_socket_pair() -> tuple[JsObject, JsObject]:
    """Return the client's and the server's end of a new WebSocket."""
    client, server = js_module("js").WebSocketPair.new().object_values()
    return client, server


def answer_pings(context: JsObject) -> None:
    """Let the runtime answer each message ``ping`` with ``pong``, without waking the object."""
    context.setWebSocketAutoResponse(js_module("js").WebSocketRequestResponsePair.new("ping", "pong"))


def stream_body(body: AsyncGenerator[bytes, None]) -> JsObject:
    """Return a ReadableStream of a body, which is read as the client takes it, and closed with the stream."""
    js, ffi = js_module("js"), js_module("pyodide.ffi")
    source = js.Object.new()

    def release() -> None:
        for proxy in proxies:
            proxy.destroy()
        proxies.clear()

    async def pull(controller: JsObject) -> None:
        try:
            data = await anext(body, None)
        except Exception as error:
            controller.error(js.Error.new(str(error)))
            release()
            return
        if data is None:
            controller.close()
            release()
        else:
            controller.enqueue(to_js_bytes(data))

    async def cancel(*_: object) -> None:
        await body.aclose()
        release()

    proxies = [ffi.create_proxy(pull), ffi.create_proxy(cancel)]
    source.pull, source.cancel = proxies
    return js.ReadableStream.new(source, to_js_object({"highWaterMark": 1}))


class Fetch:
    """One request of JavaScript's ``fetch``, which can be aborted at any time.

    ``status`` and ``headers``, whose names are in lower case, are those of the response, and ``body`` is its
    ReadableStream, None where it has none.
    """

    def __init__(self, target: JsObject) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body: JsObject | None = None
        self._target = target
        self._controller = js_module("js").AbortController.new()
        self._reader: JsObject = None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Send the request and wait for the head of the response. Redirects are not followed."""
        options = to_js_object({"method": method, "headers": dict(headers), "redirect": "manual"})
        options.signal = self._controller.signal
        if body is not None:
            options.body = js_module("pyodide.ffi").to_js(body)
        response = await settle(self._target, "fetch", url, options)
        self.status = int(response.status)
        self.headers = from_js(js_module("js").Object.fromEntries(response.headers))
        self.body = None if is_nothing(response.body) else response.body

    async def read(self) -> bytes | None:
        """Return the next piece of the body, None at its end."""
        if self.body is None:
            return None
        if self._reader is None:
            self._reader = self.body.getReader()
        part = await settle(self._reader, "read")
        return None if part.done else part.value.to_bytes()

    def abort(self) -> None:
        """End the request and close its connection, at once; do nothing when it has ended."""
        self._controller.abort()


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of ``fetch``, with the names of its headers in lower case, and its body as a ReadableStream."""

    status: int
    headers: Mapping[str, str]
    body: JsObject | None


async def fetch(url: str, *, method: str, headers: Mapping[str, str], body: str) -> Fetched:
    """Send a request, without following redirects; an empty body is none. A call that is cancelled aborts it."""
    request = Fetch(js_module("js").globalThis)
    try:
        await request.send(method, url, headers, body.encode() or None)
    except BaseException:
        request.abort()
        raise
    return Fetched(request.status, request.headers, request.body)


async def read_stream(stream: JsObject) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a ReadableStream, text as UTF-8; closing the iterator cancels the stream."""
    reader = stream.getReader()
    try:
        while not (part := await settle(reader, "read")).done:
            value = part.value
            yield value.encode() if isinstance(value, str) else value.to_bytes()
    finally:
        try:
            await settle(reader, "cancel")
        except Exception as error:  # the stream failed, which the reader knows, or its cancelling did
            if failure_of(error) is None:
                raise
