"""Sending a request until an answer begins, over any HTTP client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..._time import sleep
from ...errors import ModelError
from .waits import wait_s

__all__ = ["Sender", "SendingError"]

_MAX_WAIT_S = 30.0
"""Seconds that an endpoint may ask to wait before a retry."""
_NOT_BEGUN = frozenset({429, 503})
"""The statuses that say that nothing was begun."""

_T = TypeVar("_T")


class SendingError(Exception):
    """Raised when an attempt to send a request fails.

    ``failure`` is the error to raise in the end, and its cause is that of this one. ``asked_wait_s`` is the pause in
    seconds that the endpoint asks for. ``is_silent`` is whether it took the request and said nothing, and ``is_unsent``
    whether it certainly did not get it.
    """

    def __init__(
        self,
        failure: ModelError,
        *,
        asked_wait_s: float | None = None,
        is_silent: bool = False,
        is_unsent: bool = False,
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.asked_wait_s = asked_wait_s
        self.is_silent = is_silent
        self.has_not_begun = is_unsent or failure.status in _NOT_BEGUN


class Sender:
    """Sends requests, and again ``max_retries`` times; the waits start at ``backoff_s`` seconds and double.

    Raises ValueError for a number below 0.
    """

    def __init__(self, max_retries: int, backoff_s: float) -> None:
        if max_retries < 0 or backoff_s < 0:
            raise ValueError(f"max_retries is {max_retries} and backoff_s {backoff_s}: give 0 or more")
        self._max_retries = max_retries
        self._backoff_s = backoff_s
        self._takes_stream_options = True

    async def send(self, attempt: Callable[[dict[str, Any]], Awaitable[_T]], body: dict[str, Any], *, once: bool) -> _T:
        """Return the answer to ``body``, from which ``attempt`` raises SendingError. Raises its ModelError.

        With ``once`` a request is sent again only when the endpoint has certainly not begun to work on it. An endpoint
        that refuses ``stream_options`` is asked without it from then on.
        """
        attempts = 0
        while True:
            if not self._takes_stream_options:
                body.pop("stream_options", None)
            try:
                return await attempt(body)
            except SendingError as error:
                failed = error
            failure = failed.failure
            if "stream_options" in body and failure.status in (400, 422) and "stream_options" in str(failure):
                self._takes_stream_options = False
                continue
            delay_s = wait_s(self._backoff_s, attempts) if failed.asked_wait_s is None else failed.asked_wait_s
            # A silent endpoint may still be working on the request: sending it again would cost twice.
            hopeless = not failure.retryable or failed.is_silent or (once and not failed.has_not_begun)
            if hopeless or attempts >= self._max_retries or delay_s > _MAX_WAIT_S:
                raise failure from failed.__cause__
            attempts += 1
            await sleep(delay_s)
