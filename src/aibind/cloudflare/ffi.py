"""The boundary between Python and JavaScript: bindings, values, promises and errors.

Bindings come in two kinds. A raw one is a JsProxy: JavaScript's null arrives as ``jsnull`` (as None on Python 3.12),
None leaves as undefined, a dict as a Map, a large int as a BigInt. One wrapped by workers-runtime-sdk converts by
itself. So that each value crosses in one way, whatever the Python and the kind, wrapped bindings are unwrapped and data
crosses as JSON, which is also one crossing for a whole set of rows instead of one for each value.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

__all__ = [
    "MAX_SAFE_INTEGER",
    "JsObject",
    "call",
    "context_of",
    "durable_object_class",
    "event_loop_class",
    "failure_of",
    "from_js",
    "global_object",
    "is_nothing",
    "js_module",
    "make_error",
    "make_object",
    "namespace_of",
    "object_of",
    "require",
    "settle",
    "to_js_array",
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
        proxy_type = js_module("pyodide.ffi").JsProxy
    except ImportError as error:
        raise RuntimeError(
            f"{what} works inside a Cloudflare Worker, and this Python does not run in one: it has no pyodide. "
            "On this machine use aibind.sqlite.wrap_sqlite3"
        ) from error
    proxy: Any = binding
    if not isinstance(proxy, proxy_type):
        try:
            proxy = js_module("workers").python_to_rpc(binding)  # the SDK returns what it wrapped
        except Exception as error:
            raise _no_binding(binding, method, what) from error
    if not isinstance(proxy, proxy_type) or not hasattr(proxy, method):
        raise _no_binding(binding, method, what)
    return proxy


def global_object(*, what: str) -> JsObject:
    """Return JavaScript's global object. Raises RuntimeError outside a Worker, which names ``what``, the caller."""
    try:
        return js_module("js").globalThis
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
        js_module("pyodide.ffi")
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
            array[index] = js_module("pyodide.ffi").to_js(value)
    return array


def to_js_object(value: Mapping[str, Any] | Sequence[Any]) -> JsObject:
    """Return a plain JavaScript object or array of what JSON can hold."""
    return js_module("js").JSON.parse(json.dumps(value, ensure_ascii=False, allow_nan=False))


def make_object(methods: Mapping[str, Callable[..., Awaitable[Any]]]) -> JsObject:
    """Return a JavaScript object with methods in Python, which it holds for as long as Python runs."""
    made = to_js_object({})
    for name, method in methods.items():
        setattr(made, name, js_module("pyodide.ffi").create_proxy(method))
    return made


def make_error(message: str) -> Exception:
    """Return a JavaScript error, to be raised."""
    error: Exception = js_module("js").Error.new(message)
    return error


def call(target: JsObject, method: str, arguments: JsObject) -> Any:
    """Call a method with the elements of a JavaScript array and return its result."""
    return js_module("js").Reflect.apply(getattr(target, method), target, arguments)


def event_loop_class() -> Any:
    """Return the class of Pyodide's event loop."""
    return js_module("pyodide.webloop").WebLoop


def from_js(value: JsObject) -> Any:
    """Return a JavaScript value as plain Python: dicts, lists, strings, numbers, booleans and None."""
    text = js_module("js").JSON.stringify(value)
    return None if is_nothing(text) else json.loads(text)


def is_nothing(value: object) -> bool:
    """Return whether this is JavaScript's undefined or null, which are None on Python 3.12."""
    return value is None or value is getattr(js_module("pyodide.ffi"), "jsnull", None)


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
    if not isinstance(function, js_module("pyodide.ffi").JsProxy):
        return await function(*arguments)
    js = js_module("js")
    getter = js.Object.new()
    getter.get = function.bind(target, *arguments)
    getter.enumerable = True
    promises = js.Object.values(js.Object.defineProperty(js.Object.new(), "promise", getter))
    outcome = (await js.Promise.allSettled(promises))[0]
    if outcome.status == "fulfilled":
        return outcome.value
    reason = outcome.reason
    raise reason if isinstance(reason, Exception) else RejectionError(reason)


def failure_of(error: BaseException) -> str | None:
    """Return the message of a JavaScript error, with those of its causes; None for an error of Python's."""
    if isinstance(error, RejectionError):
        return str(error)
    if not isinstance(error, js_module("pyodide.ffi").JsException):
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
        found: type[Any] = js_module("workers").DurableObject
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


def object_of(namespace: JsObject, name: str) -> JsObject:
    """Return the object of a name, whose methods can be called remotely."""
    return namespace.get(namespace.idFromName(name))


def wait_until(task: Awaitable[Any]) -> None:
    """Keep the request, or the object, alive until a task is done."""
    js_module("workers").wait_until(task)


def js_module(name: str) -> Any:
    """Return a module that exists only in a Worker, where there are no types for it."""
    return import_module(name)
