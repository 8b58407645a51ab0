"""The boundary between Python and JavaScript: bindings, values, promises and errors.

Bindings come in two kinds. A raw one is a JsProxy: JavaScript's null arrives as ``jsnull`` (as None on Python 3.12),
None leaves as undefined, a dict as a Map, a large int as a BigInt. One wrapped by workers-runtime-sdk converts by
itself. So that each value crosses in one way, whatever the Python and the kind, wrapped bindings are unwrapped and data
crosses as JSON, which is also one crossing for a whole set of rows instead of one for each value.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

__all__ = [
    "MAX_SAFE_INTEGER",
    "ByteSink",
    "ByteSinks",
    "Fetch",
    "Fetched",
    "JsObject",
    "JsRequest",
    "answer_pings",
    "ask_object",
    "call",
    "context_of",
    "durable_object_class",
    "event_loop_class",
    "failure_of",
    "fetch",
    "from_js",
    "global_object",
    "is_nothing",
    "make_error",
    "make_object",
    "make_response",
    "make_socket_pair",
    "namespace_of",
    "object_of",
    "read_request",
    "read_stream",
    "require",
    "settle",
    "stream_body",
    "to_js_array",
    "to_js_bytes",
    "to_js_object",
    "unwrap",
    "wait_until",
]

JsObject: TypeAlias = Any
"""A proxy of a JavaScript object."""

MAX_CAUSE_DEPTH = 5
"""The length of the chain of causes that a message includes, the error itself counted."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that a JavaScript number holds exactly, and so its neighbours."""


def unwrap(binding: object, *, method: str, what: str) -> JsObject:
    """Return the JavaScript object of a binding, raw or wrapped by the SDK.

    Raises RuntimeError outside a Worker, and TypeError for anything without ``method``; both name ``what``, the caller.
    """
    try:
        proxy_type = _js("pyodide.ffi").JsProxy
    except ImportError as error:
        raise RuntimeError(
            f"{what} works inside a Cloudflare Worker, and this Python does not run in one: it has no pyodide. "
            "On this machine use aibind.sqlite.wrap_sqlite3"
        ) from error
    proxy: Any = binding
    if not isinstance(proxy, proxy_type):
        try:
            proxy = _js("workers").python_to_rpc(binding)  # the SDK returns what it wrapped
        except Exception as error:
            raise _no_binding(binding, method, what) from error
    if not isinstance(proxy, proxy_type) or not hasattr(proxy, method):
        raise _no_binding(binding, method, what)
    return proxy


def global_object(*, what: str) -> JsObject:
    """Return JavaScript's global object. Raises RuntimeError outside a Worker, which names ``what``, the caller."""
    try:
        return _js("js").globalThis
    except ImportError as error:
        raise _no_worker(what) from error


def _no_worker(what: str) -> RuntimeError:
    return RuntimeError(
        f"{what} works inside a Cloudflare Worker, and this Python does not run in one: it has no pyodide"
    )


def _no_binding(value: object, method: str, what: str) -> TypeError:
    return TypeError(
        f"{what} needs a binding of the Worker (an object with {method}()), not {type(value).__name__}: "
        "pass it as env has it, and check its name in the Wrangler configuration"
    )


def require(what: str, instead: str) -> None:
    """Raise RuntimeError, which names ``what`` and what to use ``instead``, outside a Worker."""
    try:
        _js("pyodide.ffi")
    except ImportError as error:
        raise RuntimeError(
            f"{what} works inside a Cloudflare Worker, and this Python does not run in one: it has no pyodide. "
            f"On this machine use {instead}"
        ) from error


def to_js_array(values: Sequence[str | float | bytes | None]) -> JsObject:
    """Return a JavaScript array. None becomes null, bytes a Uint8Array; numbers must be finite, integers safe."""
    array = to_js_object([None if isinstance(value, bytes) else value for value in values])
    for index, value in enumerate(values):
        if isinstance(value, bytes):
            array[index] = _js("pyodide.ffi").to_js(value)
    return array


def to_js_object(value: Mapping[str, Any] | Sequence[Any]) -> JsObject:
    """Return a plain JavaScript object or array of what JSON can hold."""
    return _js("js").JSON.parse(json.dumps(value, ensure_ascii=False, allow_nan=False))


def make_object(methods: Mapping[str, Callable[..., Awaitable[Any]]]) -> JsObject:
    """Return a JavaScript object with methods in Python, which it holds for as long as Python runs."""
    made = to_js_object({})
    for name, method in methods.items():
        setattr(made, name, _js("pyodide.ffi").create_proxy(method))
    return made


def make_error(message: str) -> Exception:
    """Return a JavaScript error, to be raised."""
    error: Exception = _js("js").Error.new(message)
    return error


def call(target: JsObject, method: str, arguments: JsObject) -> Any:
    """Call a method with the elements of a JavaScript array and return its result."""
    return _js("js").Reflect.apply(getattr(target, method), target, arguments)


def event_loop_class() -> Any:
    """Return the class of Pyodide's event loop."""
    return _js("pyodide.webloop").WebLoop


def from_js(value: JsObject) -> Any:
    """Return a JavaScript value as plain Python: dicts, lists, strings, numbers, booleans and None."""
    text = _js("js").JSON.stringify(value)
    return None if is_nothing(text) else json.loads(text)


def is_nothing(value: object) -> bool:
    """Return whether this is JavaScript's undefined or null, which are None on Python 3.12."""
    return value is None or value is getattr(_js("pyodide.ffi"), "jsnull", None)


class RejectionError(Exception):
    """Raised when a promise is rejected with a value that is not an Error. ``reason`` is that value."""

    def __init__(self, reason: object) -> None:
        super().__init__("undefined" if is_nothing(reason) else _message(reason) or str(reason))
        self.reason = reason


async def settle(target: JsObject, method: str, *arguments: Any) -> Any:
    """Call a method that returns a promise; return what the promise resolves to, or raise what it is rejected with.

    Awaiting the call would do the same, but never returns when the promise is rejected with something other than an
    Error, such as the reason for cancelling a stream: Pyodide's future cannot raise it. Pyodide makes such a future of
    every promise that a call returns, so the promise is made where Python does not see it, by a getter.
    """
    function = getattr(target, method)
    if not isinstance(function, _js("pyodide.ffi").JsProxy):
        return await function(*arguments)
    js = _js("js")
    getter = js.Object.new()
    getter.get = function.bind(target, *arguments)
    getter.enumerable = True
    promises = js.Object.values(js.Object.defineProperty(js.Object.new(), "promise", getter))
    outcome = (await js.Promise.allSettled(promises))[0]
    if outcome.status == "fulfilled":
        return outcome.value
    reason = outcome.reason
    raise reason if isinstance(reason, Exception) else RejectionError(reason)


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
        self._controller = _js("js").AbortController.new()
        self._reader: JsObject = None

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        """Send the request and wait for the head of the response. Redirects are not followed."""
        options = to_js_object({"method": method, "headers": dict(headers), "redirect": "manual"})
        options.signal = self._controller.signal
        if body is not None:
            options.body = _js("pyodide.ffi").to_js(body)
        response = await settle(self._target, "fetch", url, options)
        self.status = int(response.status)
        self.headers = from_js(_js("js").Object.fromEntries(response.headers))
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
    request = Fetch(_js("js").globalThis)
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


def failure_of(error: BaseException) -> str | None:
    """Return the message of a JavaScript error, with those of its causes; None for an error of Python's."""
    if isinstance(error, RejectionError):
        return str(error)
    if not isinstance(error, _js("pyodide.ffi").JsException):
        return None
    messages: list[str] = []
    cause: object = error
    for _ in range(MAX_CAUSE_DEPTH):
        text = _message(cause)
        if not any(text in earlier for earlier in messages):
            messages.append(text.rstrip(": "))
        cause = getattr(cause, "cause", None)
        if is_nothing(cause):
            break
    return ": ".join(filter(None, messages)) or str(error)


def _message(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        message = getattr(value, "message", None)
        return "" if is_nothing(message) else str(message)
    except Exception:  # a getter in JavaScript may raise anything
        return ""


# --- Durable Objects ---


def durable_object_class() -> type[Any]:
    """Return the class that Durable Objects derive from; outside a Worker, one of which no object can be made."""
    try:
        found: type[Any] = _js("workers").DurableObject
    except ImportError:
        return _Outside
    return found


class _Outside:
    def __init__(self, *_: object) -> None:
        raise RuntimeError(
            f"{type(self).__name__} works inside a Cloudflare Worker, and this Python does not run in one: it has no "
            "workers. On this machine use StreamHandler with aibind.sqlite.wrap_sqlite3"
        )


def context_of(context: object) -> JsObject:
    """Return the JavaScript object of a Durable Object's ``ctx``, raw or as the SDK wraps it."""
    return unwrap(getattr(context, "_ctx", context), method="getWebSockets", what="DurableStreamObject")


def namespace_of(binding: object, *, what: str) -> JsObject:
    """Return the JavaScript object of a namespace of Durable Objects, raw or as the SDK wraps it."""
    return unwrap(getattr(binding, "_binding", binding), method="idFromName", what=what)


async def ask_object(
    namespace: JsObject, name: str, request: JsRequest, headers: Mapping[str, str], body: bytes
) -> Any:
    """Pass a request on to the object of a name, with other headers and this body; return its response as it comes."""
    init = to_js_object({"method": request.method, "headers": dict(headers)})
    if body:
        init.body = to_js_bytes(body)
    request_of_ours = _js("js").Request.new(request.url, init)
    return _js("workers").Response(await settle(object_of(namespace, name), "fetch", request_of_ours))


def object_of(namespace: JsObject, name: str) -> JsObject:
    """Return the object of a name, whose methods can be called remotely."""
    return namespace.get(namespace.idFromName(name))


def wait_until(task: Awaitable[Any]) -> None:
    """Keep the request, or the object, alive until a task is done."""
    _js("workers").wait_until(task)


# --- requests and responses ---


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
    headers: dict[str, str] = from_js(_js("js").Object.fromEntries(raw.headers))
    return JsRequest(str(raw.method), str(raw.url), headers, raw)


def make_response(status: int, headers: Mapping[str, str], body: bytes | JsObject, *, socket: JsObject = None) -> Any:
    """Return a response of the SDK's. ``body`` is whole, or a ReadableStream; ``socket`` is the client's end of one."""
    content = None if isinstance(body, bytes) and not body else body
    return _js("workers").Response(content, status=status, headers=dict(headers), web_socket=socket)


def to_js_bytes(data: bytes) -> JsObject:
    """Return a Uint8Array, which any number of streams may be given."""
    return _js("pyodide.ffi").to_js(data)


class ByteSink:
    """A ReadableStream that is fed from outside, without a promise for each piece.

    ``controller.desiredSize`` is above 0 while there is room for another piece: ``room`` of them in all. ``on_cancel``
    is called when the reader has gone.
    """

    __slots__ = ("_on_cancel", "controller", "enqueue", "stream")

    def __init__(self, room: int, on_cancel: Callable[[], None]) -> None:
        js = _js("js")
        started: list[JsObject] = []

        def cancel(_reason: object = None) -> None:
            on_cancel()

        start = _js("pyodide.ffi").create_proxy(started.append)
        self._on_cancel: JsObject = _js("pyodide.ffi").create_proxy(cancel)
        source = js.Object.new()
        source.start = start
        source.cancel = self._on_cancel
        self.stream: JsObject = js.ReadableStream.new(source, to_js_object({"highWaterMark": room}))
        start.destroy()  # it has been called
        self.controller: JsObject = started[0]
        self.enqueue: Callable[[JsObject], object] = self.controller.enqueue

    def has_room(self) -> bool:
        """Return whether it takes another piece now."""
        size = self.controller.desiredSize
        return isinstance(size, int | float) and size > 0  # null for a stream that has failed

    def close(self, error: str | None = None) -> None:
        """End the stream, with an error or without; do nothing when it has ended."""
        if self._on_cancel is None:
            return
        try:
            if error is None:
                self.controller.close()
            else:
                self.controller.error(_js("js").Error.new(error))
        except Exception as failure:
            if failure_of(failure) is None:
                raise
        self._on_cancel.destroy()
        self._on_cancel = None


class ByteSinks:
    """Sinks that are sent the same by the runtime itself: a few calls, however many sinks they are.

    A Worker may not make functions in JavaScript, which would send to each in a loop; but ``then`` of a promise that
    is resolved, as the callback of ``map`` with the promise as its ``this``, hands what it is resolved with to each
    function of an array.
    """

    def __init__(self) -> None:
        js = _js("js")
        self._controllers = js.Array.new()
        self._sends = js.Array.new()
        self._room_of: JsObject = None
        # An array, since Pyodide makes a future of every promise that a call returns.
        self._then = js.Array.of(js.Object.getOwnPropertyDescriptor(js.Promise.prototype, "then").value)

    def add(self, sink: ByteSink) -> None:
        """Add a sink at the end."""
        controller = sink.controller
        if self._room_of is None:
            js = _js("js")
            prototype = js.Object.getPrototypeOf(controller)
            getter = js.Object.getOwnPropertyDescriptor(prototype, "desiredSize").get
            self._room_of = getter.call.bind(getter)
        self._controllers.push(controller)
        self._sends.push(controller.enqueue.bind(controller))

    def remove(self, place: int) -> None:
        """Remove the sink at a place, counted from 0."""
        self._controllers.splice(place, 1)
        self._sends.splice(place, 1)

    def is_full(self) -> bool:
        """Return whether any of them has no room, or has ended."""
        js = _js("js")
        room = js.Reflect.apply(js.Math.min, None, self._controllers.map(self._room_of))
        return not room > 0

    async def send(self, data: JsObject) -> None:
        """Send the same to each, and wait until the runtime has done so. A sink that has ended is passed over."""
        js = _js("js")
        resolved = js.Array.of(data).map(js.Promise.resolve, js.Promise)
        sent = js.Reflect.apply(self._sends.map, self._sends, self._then.concat(resolved))
        await js.Promise.allSettled(sent)


def make_socket_pair() -> tuple[JsObject, JsObject]:
    """Return the client's and the server's end of a new WebSocket."""
    client, server = _js("js").WebSocketPair.new().object_values()
    return client, server


def answer_pings(context: JsObject) -> None:
    """Let the runtime answer each message ``ping`` with ``pong``, without waking the object."""
    context.setWebSocketAutoResponse(_js("js").WebSocketRequestResponsePair.new("ping", "pong"))


def stream_body(body: AsyncGenerator[bytes, None]) -> JsObject:
    """Return a ReadableStream of a body, which is read as the client takes it, and closed with the stream."""
    js, ffi = _js("js"), _js("pyodide.ffi")
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


def _js(name: str) -> Any:
    """Return a module that exists only in a Worker, where there are no types for it."""
    return import_module(name)
