"""A KV namespace with faults."""

from __future__ import annotations

from typing import Any

from ..cloudflare import ffi
from .faults import Faults

__all__ = ["FaultyKV"]


class FaultyKV:
    """A KV namespace whose calls pass through ``faults`` on their way to another one, ``env.CONVERSATIONS``.

    What fails raises what KV would: JavaScript errors, such as ``KV PUT failed: 429 Too Many Requests`` for an
    overload, or 503 for the rest. Pass it to a store as you would pass the namespace.

    Raises RuntimeError outside a Worker, and TypeError for anything but a KV namespace.
    """

    def __init__(self, namespace: object, faults: Faults) -> None:
        self._namespace = ffi.unwrap(namespace, method="getWithMetadata", what="FaultyKV")
        self._faults = faults
        self.js_object: ffi.JsObject = ffi.make_object(
            {
                "get": self.get,
                "getWithMetadata": self.get_with_metadata,
                "list": self.list,
                "put": self.put,
                "delete": self.delete,
            }
        )
        """The JavaScript object that stands for the namespace, where the Workers SDK looks for it."""

    def __repr__(self) -> str:
        return f"<FaultyKV {self._faults!r}>"

    async def get(self, *arguments: Any) -> Any:
        """Read a value, unless a fault strikes."""
        return await self._call("get", arguments, writes=False)

    async def get_with_metadata(self, *arguments: Any) -> Any:
        """Read a value and its metadata, unless a fault strikes."""
        return await self._call("getWithMetadata", arguments, writes=False)

    async def list(self, *arguments: Any) -> Any:
        """List keys, unless a fault strikes."""
        return await self._call("list", arguments, writes=False)

    async def put(self, *arguments: Any) -> Any:
        """Write a value, unless a fault strikes."""
        return await self._call("put", arguments, writes=True)

    async def delete(self, *arguments: Any) -> Any:
        """Delete a value, unless a fault strikes."""
        return await self._call("delete", arguments, writes=True)

    async def _call(self, method: str, arguments: tuple[Any, ...], *, writes: bool) -> Any:
        name = "GET" if method == "getWithMetadata" else method.upper()
        return await self._faults.call(
            lambda: ffi.settle(self._namespace, method, *arguments),
            writes=writes,
            lost=lambda _: ffi.make_error(f"KV {name} failed: 503 Service Unavailable"),
            overloaded=lambda _: ffi.make_error(f"KV {name} failed: 429 Too Many Requests"),
        )
