"""Values across the boundary between Python and JavaScript. Nothing else in this package knows JavaScript.

A binding comes in two kinds. Raw, it is a JsProxy: JavaScript's null arrives as ``jsnull`` (as None on Python 3.12),
None leaves as undefined, a dict as a Map, a large int as a BigInt. Wrapped by workers-runtime-sdk, it converts by
itself. So that each value crosses in one way, whatever the Python and the kind, wrapped bindings are unwrapped and data
crosses as JSON, which is also one crossing for a whole set of rows and not one for each value.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

__all__ = [
    "MAX_SAFE_INTEGER",
    "JsObject",
    "call",
    "failure_of",
    "from_js",
    "is_nothing",
    "read_stream",
    "settle",
    "to_js_array",
    "to_js_object",
    "unwrap",
]

JsObject: TypeAlias = Any
"""A proxy of something in JavaScript."""

MAX_CAUSE_DEPTH = 5
"""How many causes of an error are told with it."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that a JavaScript number holds exactly, as it does its neighbours."""


def unwrap(binding: object, *, method: str, what: str) -> JsObject:
    """Return the JavaScript object of a binding, raw or wrapped by the SDK, and check that it has ``method``.

    Raises RuntimeError outside a Worker, and TypeError for anything that is no such binding; both name ``what``.
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
            proxy = _js("workers").python_to_rpc(binding)  # of the SDK: gives back what it wrapped
        except Exception as error:
            raise _no_binding(binding, method, what) from error
    if not isinstance(proxy, proxy_type) or not hasattr(proxy, method):
        raise _no_binding(binding, method, what)
    return proxy


def _no_binding(value: object, method: str, what: str) -> TypeError:
    return TypeError(
        f"{what} needs a binding of the Worker (an object with {method}()), not {type(value).__name__}: "
        "pass it as env has it, and check its name in the Wrangler configuration"
    )


def to_js_array(values: Sequence[str | float | bytes | None]) -> JsObject:
    """Make a JavaScript array. None becomes null, bytes an Uint8Array. Numbers must be finite, integers safe."""
    array = to_js_object([None if isinstance(value, bytes) else value for value in values])
    for index, value in enumerate(values):
        if isinstance(value, bytes):
            array[index] = _js("pyodide.ffi").to_js(value)
    return array


def to_js_object(value: Mapping[str, Any] | Sequence[Any]) -> JsObject:
    """Make a plain JavaScript object or array, from what JSON can hold."""
    return _js("js").JSON.parse(json.dumps(value, ensure_ascii=False, allow_nan=False))


def call(target: JsObject, method: str, arguments: JsObject) -> Any:
    """Call a method with the elements of a JavaScript array."""
    return _js("js").Reflect.apply(getattr(target, method), target, arguments)


def from_js(value: JsObject) -> Any:
    """Return what JavaScript made as plain Python values: dicts, lists, strings, numbers, booleans and None."""
    text = _js("js").JSON.stringify(value)
    return None if is_nothing(text) else json.loads(text)


def is_nothing(value: object) -> bool:
    """Say whether this is JavaScript's undefined or null, which Python 3.12 has as None."""
    return value is None or value is getattr(_js("pyodide.ffi"), "jsnull", None)


class RejectionError(Exception):
    """Is what a promise was rejected with that is no Error: ``reason``, a text or any other value."""

    def __init__(self, reason: object) -> None:
        super().__init__("undefined" if is_nothing(reason) else _message(reason) or str(reason))
        self.reason = reason


async def settle(target: JsObject, method: str, *arguments: Any) -> Any:
    """Call a method that gives a promise, wait, and return its value or raise what it was rejected with.

    Awaiting the call does the same, but hangs for ever when the promise is rejected with something other than an Error,
    such as the text for which somebody broke off a stream: Pyodide's future refuses to raise it. What a call returns is
    made such a future at once, so the promise has to come about without Python looking: as what a getter returns.
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


async def read_stream(stream: JsObject) -> AsyncGenerator[bytes, None]:
    """Yield what a ReadableStream gives, text as UTF-8, and cancel it when nobody reads on."""
    reader = stream.getReader()
    try:
        while not (part := await settle(reader, "read")).done:
            value = part.value
            yield value.encode() if isinstance(value, str) else value.to_bytes()
    finally:
        try:
            await settle(reader, "cancel")
        except Exception as error:  # then it has failed, which whoever reads was told, or fails at ending
            if failure_of(error) is None:
                raise


def failure_of(error: BaseException) -> str | None:
    """Return what a JavaScript error says, and its causes; None for an error that does not come from JavaScript."""
    if isinstance(error, RejectionError):
        return str(error)
    if not isinstance(error, _js("pyodide.ffi").JsException):
        return None
    told: list[str] = []
    cause: object = error
    for _ in range(MAX_CAUSE_DEPTH):
        text = _message(cause)
        if not any(text in earlier for earlier in told):
            told.append(text.rstrip(": "))
        cause = getattr(cause, "cause", None)
        if is_nothing(cause):
            break
    return ": ".join(filter(None, told)) or str(error)


def _message(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        message = getattr(value, "message", None)
        return "" if is_nothing(message) else str(message)
    except Exception:  # of JavaScript: a getter may do anything
        return ""


def _js(name: str) -> Any:
    """Import a module that only a Worker has, and whose types nobody knows."""
    return import_module(name)
