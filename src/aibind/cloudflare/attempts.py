"""Calls of a binding, with JavaScript's failures as our errors and retries where they are safe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from .._retry import retry
from ..errors import AibindError, TransientError
from . import ffi

__all__ = ["attempt"]

_T = TypeVar("_T")


async def attempt(
    operation: Callable[[], Awaitable[_T]],
    map_error: Callable[[str], AibindError],
    *,
    patience_s: float,
    may_repeat: Callable[[TransientError], bool] = lambda _: True,
) -> _T:
    """Call ``operation``, and repeat it for ``patience_s`` seconds while it raises a TransientError.

    ``map_error`` makes an error of what JavaScript said; the JavaScript error becomes its ``__cause__``. ``may_repeat``
    says whether repeating is safe after an error.
    """

    async def once() -> _T:
        try:
            return await operation()
        except Exception as error:
            text = ffi.failure_of(error)
            if text is None:
                raise
            raise map_error(text) from error

    return await retry(once, patience_s=patience_s, may_repeat=may_repeat)
